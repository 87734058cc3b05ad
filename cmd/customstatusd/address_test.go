package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]struct {
		shown, dsn string
		password   bool
	}{
		"bolt:some dir/x.db":                      {shown: "some dir/x.db"},
		"postgres://h/d":                          {shown: "postgres://h/d", dsn: "postgres://h/d"},
		"postgresql://u@h:1,i:2/d":                {shown: "postgres://u@h:1,i:2/d", dsn: "postgres://u@h:1,i:2/d"},
		"postgres:///d?host=/run&catalog=x":       {shown: "postgres:///d", dsn: "postgres:///d?host=%2Frun"},
		"postgres://u:s3cret@h/d":                 {shown: "postgres://u@h/d", dsn: "postgres://u:s3cret@h/d", password: true},
		"postgres://u:s3cret%40@h/d":              {shown: "postgres://u@h/d", dsn: "postgres://u:s3cret%40@h/d", password: true},
		"postgres://u:s3@cret@h/d":                {shown: "postgres://u@h/d", dsn: "postgres://u:s3%40cret@h/d", password: true},
		"postgres://h/d?password=s3cret":          {shown: "postgres://h/d", dsn: "postgres://h/d?password=s3cret", password: true},
		"postgres://h/d?sslpassword=s3cret":       {shown: "postgres://h/d", dsn: "postgres://h/d?sslpassword=s3cret", password: true},
		"postgres://h/d?application_name=a+b%20c": {shown: "postgres://h/d", dsn: "postgres://h/d?application_name=a%2Bb%20c"},
		"postgres://[::1]:5432,[::2]/d":           {shown: "postgres://[::1]:5432,[::2]/d", dsn: "postgres://[::1]:5432,[::2]/d"},
		"postgres://u:s3%2Fcr%3Fet@h/d":           {shown: "postgres://u@h/d", dsn: "postgres://u:s3%2Fcr%3Fet@h/d", password: true},
		"postgres://h/d?Password=s3cret":          {shown: "postgres://h/d", dsn: "postgres://h/d?Password=s3cret", password: true},
		"etcd://a:1,b:2/x/y?tls=true":             {shown: "etcd://a:1,b:2/x/y"},
		"etcd://u:s3cret@a:1":                     {shown: "etcd://u@a:1/", password: true},
		"etcd://u@a:1/?password-file=f&ca=x.pem":  {shown: "etcd://u@a:1/"},
	} {
		a, err := parseAddress(text)
		require.NoError(t, err, text)
		require.Equal(t, want.shown, a.String(), text)
		require.Equal(t, want.password, a.hasPassword(), text)
		if a.kind == kindPostgres {
			require.Equal(t, want.dsn, a.dsn("schema", "catalog"), text)
		}
	}
	for _, text := range []string{
		"", "x.db", "bolt:", "mysql://u:s3cret@h/d", "postgres://u:s3cret%zz@h/d", "postgres://u:s3cret@h/d?%zz", "postgres://u:s3cret@h/d#x",
		"etcd://", "etcd://a:1,", "etcd://:s3cret@a:1", "etcd://u:s3cret@a:1?x=y", "etcd://a:1?tls=s3cret", "etcd://a:1?cert=x",
		"postgres://u:x/s3cret@h:1/d", "postgres://u:s3cret/x@h:1/d", "postgres://u:x?s3cret@h:1/d", "postgres://u:s3cret?x@h:1/d", "postgres://u:1/s3cret@h/d",
		"etcd://u:x/s3cret@h:1/p", "etcd://u:s3cret?x@h:1", "postgres://u:s3cret/d", "etcd://h:1,u:s3cret", "postgres://[::1]s3cret/d", "postgres://[::1]:s3cret/d",
		"postgres://::1/s3cret", "postgres://h/d?sslmode=disable;password=s3cret", "postgres://h/d;password=s3cret", "etcd://h:1/p;password=s3cret", "etcd://h:1;password=s3cret",
		"postgres://h/d?catalog=a&catalog=s3cret", "postgres://h/d?host=s3cret&host=b",
		"etcd://a:1?password-file=x", "etcd://a:1?tls=true&tls=false",
	} {
		_, err := parseAddress(text)
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestPasswordFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	a, err := parseAddress("etcd://u@a:1?password-file=" + file)
	require.NoError(t, err)
	_, err = a.passwordOf()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(file, []byte("s3 cret\n"), 0o600))
	password, err := a.passwordOf()
	require.NoError(t, err)
	require.Equal(t, "s3 cret", password)
}

// Which store counts, of flags and variables; and passwords only where nobody reads them.
func TestStoreFlags(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, tt := range []struct {
		args string
		env  map[string]string
		code int
		says string // on standard error
	}{
		{"export --db a.db --store bolt:b.db", nil, exitUsage, "--db and --store both"},
		{"export", map[string]string{"CUSTOMSTATUS_DB": "a.db", "CUSTOMSTATUS_STORE": "bolt:b.db"}, exitUsage, "$CUSTOMSTATUS_DB and $CUSTOMSTATUS_STORE both"},
		{"export --db a.db", map[string]string{"CUSTOMSTATUS_STORE": "bolt:b.db"}, exitFailure, "a.db"},
		{"export --store bolt:a.db", map[string]string{"CUSTOMSTATUS_DB": "b.db"}, exitFailure, "a.db"},
		{"export", map[string]string{"CUSTOMSTATUS_STORE": "bolt:b.db"}, exitFailure, "b.db"},
		{"export --store x.db", nil, exitUsage, "a store is bolt:PATH"},
		{"export --store postgres://u:s3cret@127.0.0.1:1/d", nil, exitUsage, "$PGPASSWORD"},
		{"serve --store postgres://127.0.0.1:1/d?password=s3cret", nil, exitUsage, "$CUSTOMSTATUS_STORE"},
		{"copy --from etcd://u:s3cret@127.0.0.1:1 --to bolt:a.db", nil, exitUsage, "password-file=FILE"},
		{"copy --from bolt:a.db", nil, exitUsage, "--from STORE and --to STORE"},
		{"backup --store postgres://127.0.0.1:1/d", nil, exitFailure, "pg_dump"},
		{"salvage --store etcd://127.0.0.1:1/d x", nil, exitFailure, "etcdctl snapshot save"},
		{"export --store postgres://u:x/s3cret@127.0.0.1:1/d", nil, exitUsage, "write / as %2F"},
		{"copy --from bolt:a.db --to etcd://u:x?s3cret@127.0.0.1:1", nil, exitUsage, "write / as %2F"},
		{"export", map[string]string{"CUSTOMSTATUS_STORE": "postgres://u:s3cret/x@127.0.0.1:1/d"}, exitUsage, "write / as %2F"},
		{"export --db postgres://u:s3cret@127.0.0.1:1/d", nil, exitUsage, "a file, and not a store on a server"},
		{"export", map[string]string{"CUSTOMSTATUS_DB": "etcd://u:s3cret@127.0.0.1:1/d"}, exitUsage, "a file, and not a store on a server"},
		{"serve --store postgres://127.0.0.1:1/d", nil, exitUsage, "--tokens FILE"},
		{"token add --store postgres://127.0.0.1:1/d", nil, exitUsage, "--tokens FILE"},
		{"export", map[string]string{"CUSTOMSTATUS_STORE": "postgres://u:s3cret@127.0.0.1:1/d?connect_timeout=1"}, exitFailure, "postgres://u@127.0.0.1:1/d"},
		{"serve --addr 127.0.0.1:0 --db new.db --tokens t --credentials-file ./t", nil, exitFailure, "is the tokens file"},
		{"serve --addr 127.0.0.1:0 --db new.db --tokens t --credentials-file t.lock", nil, exitFailure, "is the tokens file or its lock"},
		{"export", map[string]string{"CUSTOMSTATUS_STORE": "mysql://u:s3cret@127.0.0.1:1/d"}, exitUsage, "a store is bolt:PATH"},
	} {
		var out, errs strings.Builder
		code := run(t.Context(), strings.Fields(tt.args), strings.NewReader(""), &out, &errs,
			func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
		require.Equal(t, tt.code, code, "%s %v: %s", tt.args, tt.env, errs.String())
		require.Contains(t, errs.String(), tt.says, tt.args)
		require.NotContains(t, errs.String()+out.String(), "s3cret", tt.args)
	}
}
