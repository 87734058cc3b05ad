package httpadapter

import "time"

// SetStreamTimes shortens the times that tests wait for.
func (h *Handler) SetStreamTimes(heartbeat, writeTimeout time.Duration) {
	h.heartbeat, h.writeTimeout = heartbeat, writeTimeout
}
