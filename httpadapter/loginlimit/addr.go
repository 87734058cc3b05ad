package loginlimit

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// connectionAddr returns the address at the other end of the connection.
func connectionAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// network returns the key that failures are counted by: an IPv4 address, or a /64
// network, because an IPv6 client can choose any address of its network.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil { // some proxies report the port, too
		var both netip.AddrPort
		both, err = netip.ParseAddrPort(addr)
		ip = both.Addr()
	}
	if err != nil {
		return strings.Clone(addr[:min(len(addr), 64)])
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		prefix, _ := ip.Prefix(64) // 64 is within its length
		return prefix.String()
	}
	return ip.String()
}
