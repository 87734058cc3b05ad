package etcdstore_test

import (
	"context"
	"log"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
)

// A server opens its catalog in a cluster. All servers do the same.
func Example() {
	ctx := context.Background()
	store, err := etcdstore.Open(ctx, clientv3.Config{
		Endpoints: []string{"http://etcd-1:2379", "http://etcd-2:2379", "http://etcd-3:2379"},
		Username:  "chat",
		Password:  os.Getenv("ETCD_PASSWORD"),
	}, &etcdstore.Options{Prefix: "/chat/statuses/"})
	if err != nil {
		log.Fatal(err)
	}
	catalog, err := customstatus.OpenShared(ctx, store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close() // closes the store too
}
