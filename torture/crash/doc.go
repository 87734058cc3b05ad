// Package crash kills processes while they write to a bbolt file, or takes away
// what they need, and looks at what is left. Its tests run on Linux.
package crash
