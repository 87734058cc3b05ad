package httpadapter

import (
	"context"
	"time"
)

// SetStreamTimes shortens the times that tests wait for.
func (h *Handler) SetStreamTimes(heartbeat, writeTimeout time.Duration) {
	h.heartbeat, h.writeTimeout = heartbeat, writeTimeout
}

// AsPlainConn says of a request's context that the request came on a plain connection.
func AsPlainConn(ctx context.Context) context.Context {
	return context.WithValue(ctx, plainConn{}, true)
}
