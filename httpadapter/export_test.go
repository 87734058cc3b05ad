package httpadapter

import "time"

// SetStreamTimes shortens what tests would have to wait for.
func (h *Handler) SetStreamTimes(heartbeat, writeTimeout time.Duration) {
	h.heartbeat, h.writeTimeout = heartbeat, writeTimeout
}
