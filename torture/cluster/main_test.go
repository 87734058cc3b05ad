package cluster

import (
	"fmt"
	"os"
	"testing"

	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeVariable); text != "" {
		if err := serveNode(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	etcdtest.Main(m) // which ends the process
}
