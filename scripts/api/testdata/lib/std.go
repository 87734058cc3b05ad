package lib

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
)

var ErrGone = errors.New("gone")

// Order has a type of the standard library that has no name for others.
var Order = binary.BigEndian

func Read(ctx context.Context, r io.Reader) (*File, error) {
	return nil, errors.Join(ctx.Err(), ErrGone)
}

// File does not say again what an io.Reader has.
type File struct {
	io.Reader
	io.Closer
}
