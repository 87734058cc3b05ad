// Package crash kills processes while they write to a bbolt file, or takes
// resources away from them, and checks what is left. Its tests run on Linux.
package crash
