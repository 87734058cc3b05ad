package etcdstore_test

import (
	"testing"

	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }
