package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// storeType is the type of an addressValue, for help and errors.
const storeType = "store"

// addressValue is a flag whose value is the address of a store.
type addressValue struct {
	at  *address
	set bool // also by the environment
}

func (v *addressValue) String() string {
	if v.at == nil || !v.set {
		return ""
	}
	return v.at.String()
}

func (v *addressValue) Type() string { return storeType }

func (v *addressValue) Set(text string) error {
	parsed, err := parseAddress(text)
	if err != nil {
		return err
	}
	*v.at, v.set = parsed, true
	return nil
}

const aboutStores = "bolt:PATH, postgres://USER@HOST:PORT/DATABASE or\netcd://HOST:PORT,HOST:PORT/PREFIX"

// addStore declares the flags that say where the catalog is: --store, and --db for a
// bbolt file. The address is complete when the command runs.
func addStore(cmd *cobra.Command, at *address) {
	*at = fileAt(defaultDatabase)
	flags := cmd.Flags()
	flags.Var(&pathValue{at: at}, "db", "the `FILE` that holds the catalog; the same as --store bolt:FILE")
	flags.Lookup("db").DefValue = defaultDatabase
	flags.Var(&addressValue{at: at}, "store", "the `STORE` that holds the catalog: "+aboutStores+";\na password comes from a file or a variable, see \"customstatusd help "+storesName+"\"")
	fromEnvironment(flags.Lookup("db"))
	fromEnvironment(flags.Lookup("store"))
}

var errNotAFile = errors.New("this names a file, and not a store on a server; --store and $CUSTOMSTATUS_STORE name such a store")

// pathValue is a flag whose value is the path of a bbolt file.
type pathValue struct{ at *address }

func (v *pathValue) String() string {
	if v.at == nil {
		return ""
	}
	return v.at.path
}

func (v *pathValue) Type() string { return "string" }

// Set refuses the address of a store on a server, whose password errors would show.
func (v *pathValue) Set(path string) error {
	if isURL(path) {
		return errNotAFile
	}
	*v.at = fileAt(path)
	return nil
}

// onlyOneStore refuses two addresses of one catalog, and reports whether a flag has one.
// Nobody may pass a password on the command line, where every user of the machine can
// read it.
func (p *process) onlyOneStore(cmd *cobra.Command) (placed bool, refused error) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if v, ok := f.Value.(*addressValue); ok && f.Changed && v.at.hasPassword() {
			refused = usagef("--%s has a password, which every user of this machine could read in the list of processes; %s",
				f.Name, v.at.insteadOfPassword(f))
		}
	})
	db, store := cmd.Flags().Lookup("db"), cmd.Flags().Lookup("store")
	if refused != nil || db == nil || store == nil {
		return false, refused
	}
	if db.Changed && store.Changed {
		return true, usagef("--db and --store both say where the catalog is; give one")
	}
	if db.Changed || store.Changed {
		return true, nil
	}
	dbVariable, _ := p.lookupEnv(db.Annotations[environmentAnnotation][0])
	storeVariable, _ := p.lookupEnv(store.Annotations[environmentAnnotation][0])
	if dbVariable != "" && storeVariable != "" {
		return false, usagef("$%s and $%s both say where the catalog is; set one", db.Annotations[environmentAnnotation][0], store.Annotations[environmentAnnotation][0])
	}
	return false, nil
}

// insteadOfPassword says where a password can be that is not on the command line.
func (a address) insteadOfPassword(f *pflag.Flag) string {
	instead := "name a file with password-file=FILE behind the ?"
	if a.kind == kindPostgres {
		instead = "put it into $PGPASSWORD, or into a file that $PGPASSFILE names"
	}
	if names := f.Annotations[environmentAnnotation]; len(names) > 0 {
		instead += ", or the whole address into $" + names[0]
	}
	return instead
}

const storesName = "stores"

// storesCommand is a page of the help.
func storesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   storesName,
		Short: "Where a catalog can be, and how several servers share one",
		Long: `A catalog is in one of these stores:

    bolt:PATH                                 one file, which one server holds
    postgres://USER@HOST:PORT/DATABASE        a PostgreSQL database
    etcd://USER@HOST:PORT,HOST:PORT/PREFIX    an etcd cluster

Any number of servers can share a catalog in PostgreSQL or etcd, behind a load balancer.
A client that reconnects to another server misses no change. A write is seen by the
other servers a moment later. While the store is away, servers answer lists from memory,
and writes with an error of the server; all heals by itself. A server that starts while
the store is away tries again, for --store-timeout.

A password on the command line is refused, because every user of the machine could read
it there. $CUSTOMSTATUS_STORE may have one. No log and no error shows it.

PostgreSQL: the address has what a connection string can have, such as several hosts
and ?sslmode=verify-full&sslrootcert=FILE. With several hosts, a silent one is given up
after a few seconds: after 10 divided by one more than the hosts, or after a shorter
connect_timeout. Of the usual variables, $PGPASSWORD, $PGPASSFILE, $PGSERVICE and the
others count. Three more parameters are ours:
    schema=NAME     the schema of the tables; the default is customstatus
    catalog=NAME    the catalog, of which a schema has any number
    listen=false    for a pooler in transaction mode
The first server makes the tables. "customstatusd schema" prints the statements, for a
database in which servers must not make them.

etcd: all keys begin with the PREFIX; the default is customstatus. The parameters are
    tls=true               use TLS, and trust what the system trusts
    ca=FILE                use TLS, and trust the certificates in the PEM FILE
    cert=FILE, key=FILE    use TLS, and show this certificate
    password-file=FILE     the password of the USER

With a shared store, the commands that need the tokens want --tokens FILE. All servers
need the same tokens: mount one file on each, or one directory that they share. The
sessions of browsers are beside the tokens file, in a file that ends in .sessions. If
the servers share that directory, a session counts on all of them; otherwise, let the
load balancer send a browser to the same server each time.

import and export use a shared store directly, whether servers run or not. backup and
salvage are for files: use pg_dump or "etcdctl snapshot save", or export. check reads
and verifies the whole catalog, but can't look for damaged files of the engine.`,
	}
}
