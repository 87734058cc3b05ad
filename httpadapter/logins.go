package httpadapter

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// DefaultFailedLogins is the default of [Options.FailedLogins]. It is far beyond
// what people and programs with a stale token cause, even many of them behind
// one address.
const DefaultFailedLogins = 60

const (
	loginWindow = time.Minute
	loginDelay  = time.Second
	// maxLoginAddrs bounds the memory that failed logins take: twice as many
	// addresses, some 100 bytes each.
	maxLoginAddrs = 4096
	// maxDelayed bounds the connections that wait for a delayed answer.
	maxDelayed = 512
)

// failedLogins counts failed logins per address, in the current window and the
// one before. Only failures are slowed down: credentials are always checked, and
// those that are valid pass, so that nobody can lock out somebody else who
// shares their address. It is a brake on clients that repeat themselves and on
// the log, not what keeps tokens from being guessed; that is their length.
type failedLogins struct {
	limit int // negative: none

	mu       sync.Mutex
	since    time.Time // the start of the current window
	current  map[string]int
	previous map[string]int
	delayed  int
}

// add counts one more failure and returns how many there were lately.
func (f *failedLogins) add(addr string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	age := now.Sub(f.since)
	switch {
	case f.current == nil || age >= 2*loginWindow:
		f.since, f.current, f.previous = now, make(map[string]int), nil
	case age >= loginWindow || f.current[addr] == 0 && len(f.current) == maxLoginAddrs:
		f.since, f.current, f.previous = now, make(map[string]int), f.current
	}
	f.current[addr]++
	return f.current[addr] + f.previous[addr]
}

// acquire takes one of the places for delayed answers, and returns false if
// there is none.
func (f *failedLogins) acquire() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.delayed == maxDelayed {
		return false
	}
	f.delayed++
	return true
}

func (f *failedLogins) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delayed--
}

// slowDown is called when a login has failed.
func (x *exchange) slowDown() {
	if x.logins.limit < 0 {
		return
	}
	addr := loginAddr(x.clientAddr(x.r))
	failures := x.logins.add(addr, time.Now())
	if failures <= x.logins.limit {
		return
	}
	if failures == x.logins.limit+1 {
		x.logger().Warn("httpadapter: too many failed logins, answers are delayed", "address", addr)
	}
	if !x.logins.acquire() {
		x.w.Header().Set("Connection", "close") // the next attempt has to connect again
		return
	}
	defer x.logins.release()
	select {
	case <-time.After(loginDelay):
	case <-x.r.Context().Done():
	}
}

// connectionAddr is the address at the other end of the connection.
func connectionAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// loginAddr returns what failed logins are counted by: an IPv4 address, or the
// /64 network that an IPv6 client can choose its address from.
func loginAddr(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil { // some proxies name the port, too
		var both netip.AddrPort
		both, err = netip.ParseAddrPort(addr)
		ip = both.Addr()
	}
	if err != nil {
		return strings.Clone(addr[:min(len(addr), 64)])
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		network, _ := ip.Prefix(64) // 64 is within its length
		return network.String()
	}
	return ip.String()
}
