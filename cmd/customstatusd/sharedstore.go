//go:build !nocluster

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/pgstore"
)

// openStore opens a store that several servers share. Unless create is set, it makes
// nothing there, and fails with a noCatalog if nothing is there.
func openStore(ctx context.Context, a address, create bool, log *slog.Logger) (customstatus.SharedStore, error) {
	if a.kind == kindEtcd {
		return openEtcd(ctx, a, create, log)
	}
	return openPostgres(ctx, a, create, log)
}

// openPostgres opens a store in PostgreSQL. The parameters that pgx doesn't know are
// the store's options.
func openPostgres(ctx context.Context, a address, create bool, log *slog.Logger) (customstatus.SharedStore, error) {
	opts := pgstore.Options{Schema: a.params.Get("schema"), Catalog: a.params.Get("catalog"), NoCreate: !create, Logger: log}
	switch listen := a.params.Get("listen"); listen {
	case "", "true":
	case "false":
		opts.NoListen = true
	default:
		return nil, errors.New("listen is true or false")
	}
	store, err := pgstore.Open(ctx, a.dsn("schema", "catalog", "listen"), &opts)
	if errors.Is(err, pgstore.ErrNoCatalog) {
		return nil, &noCatalog{err}
	}
	if err != nil {
		return nil, err // not a nil *Store in the interface
	}
	return store, nil
}

// schemaSQL returns the statements that make a schema in PostgreSQL and, if a role is
// named, those that give the role what a server needs.
func schemaSQL(schema, role string) (string, error) {
	sql, err := pgstore.SchemaSQL(schema)
	if err != nil {
		return "", &usageError{err.Error()} // the name is at fault
	}
	if role == "" {
		return sql, nil
	}
	grants, err := pgstore.GrantSQL(schema, role)
	return sql + "\n" + grants, err
}

func openEtcd(ctx context.Context, a address, create bool, log *slog.Logger) (customstatus.SharedStore, error) {
	config := clientv3.Config{Username: a.user}
	var err error
	if config.Password, err = a.passwordOf(); err != nil {
		return nil, err
	}
	if config.TLS, err = a.tls(); err != nil {
		return nil, err
	}
	scheme := "http://"
	if config.TLS != nil {
		scheme = "https://"
	}
	for host := range strings.SplitSeq(a.hosts, ",") {
		config.Endpoints = append(config.Endpoints, scheme+host)
	}
	opts := etcdstore.Options{Logger: log}
	if name := strings.Trim(a.name, "/"); name != "" {
		opts.Prefix = "/" + name + "/"
	}
	store, err := etcdstore.Open(ctx, config, &opts)
	if err != nil {
		return nil, err
	}
	if create {
		return store, nil
	}
	// An etcd store makes nothing before its first commit, which leaves a revision.
	if revision, err := store.Revision(ctx); err != nil || revision == 0 {
		if err == nil {
			err = &noCatalog{errors.New("there is no catalog under this prefix, or nothing was ever written to it")}
		}
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// tls returns how an etcd address uses TLS, or nil if it doesn't.
func (a address) tls() (*tls.Config, error) {
	on := a.params.Get("tls")
	wanted := slices.ContainsFunc([]string{"ca", "cert", "key"}, a.params.Has)
	if on == "false" && wanted {
		return nil, errors.New("tls=false does not go with ca, cert and key")
	}
	if on != "true" && !wanted {
		return nil, nil
	}
	config := new(tls.Config)
	if file := a.params.Get("ca"); file != "" {
		pem, err := readNamed(file)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s has no certificate", file)
		}
	}
	if file := a.params.Get("cert"); file != "" {
		pair, err := readKeyPair(file, a.params.Get("key"))
		if err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
