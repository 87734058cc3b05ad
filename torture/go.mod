module github.com/customstatus/customstatus/torture

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/customstatus/customstatus v0.1.0
	go.etcd.io/bbolt v1.5.0
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)
