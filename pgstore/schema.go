package pgstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The schema's version, and the newest format of a record, that this version of the
// package knows.
const (
	schemaVersion = 1
	recordFormat  = 1
)

//go:embed schema.sql
var schemaSQL string

// schemaName is what a schema may be called, so that no statement needs to quote
// it, and that the name of a channel with a number behind it has at most 63 bytes.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

// SchemaSQL returns the statements that make the tables and functions in a schema,
// for psql or another tool, as the role that will own them. An empty schema is the
// default of [Options.Schema]. [Open] runs the same statements if it may. They are
// one transaction, which fails if the tables are there already.
func SchemaSQL(schema string) (string, error) {
	schema, err := schemaOf(schema)
	if err != nil {
		return "", err
	}
	return "BEGIN;\nCREATE SCHEMA IF NOT EXISTS " + schema + ";\n\n" + createSQL(schema) + "\nCOMMIT;\n", nil
}

// GrantSQL returns the statements that give a role what a store needs, and no more,
// once the schema is there. With it, [Open] can also make new catalogs. The role's
// name is quoted.
func GrantSQL(schema, role string) (string, error) {
	schema, err := schemaOf(schema)
	if err != nil {
		return "", err
	}
	role = `"` + strings.ReplaceAll(role, `"`, `""`) + `"`
	return strings.NewReplacer("{schema}", schema, "{role}", role).Replace(
		`GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON {schema}.version TO {role};
GRANT SELECT, INSERT, UPDATE ON {schema}.catalogs TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.statuses TO {role};
GRANT SELECT, INSERT, DELETE ON {schema}.commits, {schema}.markers TO {role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};
`), nil
}

func schemaOf(name string) (string, error) {
	if name == "" {
		name = defaultSchema
	}
	if !schemaName.MatchString(name) {
		return "", fmt.Errorf("pgstore: the schema's name %q is not 1 to 48 lower-case letters, digits and underscores, beginning with no digit", name)
	}
	return `"` + name + `"`, nil
}

// createSQL returns the statements that make the newest schema from nothing.
func createSQL(schema string) string {
	return strings.ReplaceAll(schemaSQL, "{schema}", schema) + `
-- The oldest version of a program that can use the schema.
CREATE TABLE ` + schema + `.version (version integer NOT NULL, oldest integer NOT NULL);
INSERT INTO ` + schema + `.version VALUES (` + strconv.Itoa(schemaVersion) + `, 1);
`
}

// prepare makes the schema, unless it is there or must not be made.
func (s *Store) prepare(ctx context.Context) error {
	return s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) error {
		there, err := s.checkVersion(ctx, c)
		if there || err != nil {
			return err
		}
		if s.opts.NoCreate {
			return s.noCatalog()
		}
		if s.opts.NoMigrate {
			return fmt.Errorf("the schema %s has no tables, and Options.NoMigrate forbids to make them: run the statements of SchemaSQL", s.schema)
		}
		// Whoever comes first makes the tables; the others wait and find them.
		lock := "BEGIN; " + readCommitted + "SELECT pg_advisory_xact_lock(hashtextextended('customstatus ' || current_database() || '" + s.schema + "', 0))"
		if _, err := simple(ctx, c, lock); err != nil {
			return err
		}
		err = s.migrate(ctx, c)
		end := "COMMIT"
		if err != nil {
			end = "ROLLBACK"
		}
		_, ended := simple(ctx, c, end)
		return errors.Join(err, ended)
	})
}

func (s *Store) migrate(ctx context.Context, c *pgconn.PgConn) error {
	if there, err := s.checkVersion(ctx, c); there || err != nil {
		return err
	}
	// To make a schema takes a privilege that its owner may not have.
	found, err := simple(ctx, c, "SELECT 1 FROM pg_namespace WHERE nspname = '"+unquoted(s.schema)+"'")
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if _, err := simple(ctx, c, "CREATE SCHEMA "+s.schema); err != nil {
			return err
		}
	}
	if _, err = simple(ctx, c, createSQL(s.schema)); err != nil {
		return fmt.Errorf("making the tables in the schema %s: %w", s.schema, err)
	}
	return nil
}

// checkVersion reports whether the tables are there. It fails if they are newer
// than this version can use.
func (s *Store) checkVersion(ctx context.Context, c *pgconn.PgConn) (there bool, err error) {
	// Not to_regclass: it may remember that there was no table.
	found, err := simple(ctx, c, "SELECT 1 FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace"+
		" WHERE t.relname = 'version' AND n.nspname = '"+unquoted(s.schema)+"'")
	if err != nil || len(found) == 0 {
		return false, err
	}
	rows, err := simple(ctx, c, "SELECT version, oldest FROM "+s.schema+".version")
	if err != nil {
		return false, err
	}
	if len(rows) != 1 {
		return false, fmt.Errorf("the table %s.version has %d rows, want 1", s.schema, len(rows))
	}
	version, err1 := strconv.Atoi(string(rows[0][0]))
	oldest, err2 := strconv.Atoi(string(rows[0][1]))
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	if oldest > schemaVersion {
		return false, fmt.Errorf("the schema %s has version %d, which needs a program that knows version %d, and this program knows version %d: upgrade the program",
			s.schema, version, oldest, schemaVersion)
	}
	return true, nil
}
