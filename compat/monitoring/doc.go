// Package monitoring tests what operators look at: that the dashboard, the alert rules
// and the page docs/monitoring.md name metrics that there are, and that Prometheus's
// own parser and promtool accept them. It also has an example for OpenTelemetry.
//
// Without promtool, the tests of the rules are skipped and say so. Where the environment
// variable CUSTOMSTATUS_REQUIRED is set, as .ci/run sets it, such a skip is a failure.
package monitoring
