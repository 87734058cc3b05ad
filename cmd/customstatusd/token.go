package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// tokensFile declares the flag that names the tokens file.
func (cl *commandLine) tokensFile() *string {
	return cl.String("tokens", "", "the `FILE` that holds the hashes of the tokens; without it, the one\n        beside the database that ends in .tokens")
}

func tokenAddCommand() command {
	return command{
		name: "token add", summary: "make a token and print it, once",
		about: `Makes a token and prints the two headers that a client sends with it. Only its
hash is kept. They can be given to curl as they are, without the token being seen
in the list of processes:
  (umask 077 && customstatusd token add > headers)
  curl --header @headers http://127.0.0.1:3000/api/v1/custom-user-status.list
A running server knows the token at once.`,
		run: (*process).tokenAdd,
	}
}

func tokenListCommand() command {
	return command{
		name: "token list", summary: "list the tokens there are",
		about: "Lists the tokens by what revoke takes, their users, what they allow, and labels.",
		run:   (*process).tokenList,
	}
}

func tokenRevokeCommand() command {
	return command{
		name: "token revoke", args: "[ID …]", summary: "make tokens invalid",
		about: `Makes the tokens with these ids (or the first 8 digits of them) invalid, or all
tokens of a user. A running server refuses them at once.`,
		run: (*process).tokenRevoke,
	}
}

const (
	maxUserID = 128
	maxLabel  = 120
)

func (p *process) tokenAdd(ctx context.Context, cl *commandLine) error {
	path, tokens := cl.file(), cl.tokensFile()
	user := cl.String("user", "", "the `ID` of the user that the token is for; without it, a new one")
	readOnly := cl.Bool("read-only", false, "the token may list, but not create, update or delete")
	label := cl.String("label", "", "a `TEXT` for token list to show")
	if err := cl.parse(0, 0); err != nil {
		return err
	}
	if len(*user) > maxUserID || strings.ContainsFunc(*user, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usagef("token add: --user must be at most %d ASCII characters, none of them a space", maxUserID)
	}
	if utf8.RuneCountInString(*label) > maxLabel || !utf8.ValidString(*label) || strings.ContainsFunc(*label, unicode.IsControl) {
		return usagef("token add: --label must be at most %d printable characters", maxLabel)
	}
	file := tokensPath(*tokens, *path)
	var made newToken
	err := editTokens(file, func(r *tokenRecords) error {
		made = r.addToken(*user, !*readOnly, *label)
		return nil
	})
	if err != nil {
		return fmt.Errorf("token add: %w", err)
	}
	if _, err := fmt.Fprintf(p.stdout, "X-User-Id: %s\nX-Auth-Token: %s\n", made.userID, made.token); err != nil {
		return err
	}
	return tellServer(ctx, *path)
}

// tellServer makes the server that holds the database, if there is one, read its
// tokens again.
func tellServer(ctx context.Context, path string) error {
	server, err := dialControl(ctx, controlPath(path))
	if err != nil {
		return nil // there is none, or it finds out by itself within a second
	}
	err = errors.Join(server.reload(ctx), server.close())
	if err != nil {
		return fmt.Errorf("the tokens have changed, but the server could not read them: %w", err)
	}
	return nil
}

func (p *process) tokenList(_ context.Context, cl *commandLine) error {
	path, tokens := cl.file(), cl.tokensFile()
	if err := cl.parse(0, 0); err != nil {
		return err
	}
	records, _, err := readTokens(tokensPath(*tokens, *path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("token list: %w", err)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "ID\tUSER\tMAY\tCREATED\tLABEL\n")
	for _, r := range records.Tokens {
		may := "list"
		if r.MayManage {
			may = "manage"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.id(), r.UserID, may, r.CreatedAt.Format(time.RFC3339), r.Label)
	}
	return w.Flush()
}

func (p *process) tokenRevoke(ctx context.Context, cl *commandLine) error {
	path, tokens := cl.file(), cl.tokensFile()
	user := cl.String("user", "", "revoke all tokens of the user with this `ID`")
	if err := cl.parse(0, -1); err != nil {
		return err
	}
	if (*user == "") == (len(cl.args) == 0) {
		return usagef("token revoke: name either tokens or a --user")
	}
	revoked := 0
	err := editTokens(tokensPath(*tokens, *path), func(r *tokenRecords) error {
		before := len(r.Tokens)
		if *user != "" {
			r.Tokens = slices.DeleteFunc(r.Tokens, func(t tokenRecord) bool { return t.UserID == *user })
			if len(r.Tokens) == before {
				return fmt.Errorf("the user %q has no tokens", *user)
			}
		}
		for n, id := range cl.args {
			i, err := r.find(id)
			if err != nil {
				// What was given is not repeated: it might be a token itself.
				return fmt.Errorf("argument %d: %w", n+1, err)
			}
			r.Tokens = slices.Delete(r.Tokens, i, i+1)
		}
		revoked = before - len(r.Tokens)
		return nil
	})
	if err != nil {
		return fmt.Errorf("token revoke: nothing was revoked: %w", err)
	}
	if _, err := fmt.Fprintf(p.stdout, "revoked %d\n", revoked); err != nil {
		return err
	}
	return tellServer(ctx, *path)
}

// leastIDDigits is the least number of digits that name a token, so that a slip
// does not hit another one.
const leastIDDigits = 8

// find returns the index of the one token with the id, which may be cut short.
func (r *tokenRecords) find(id string) (int, error) {
	found := -1
	for i, t := range r.Tokens {
		if len(id) < leastIDDigits || !strings.HasPrefix(t.hashDigits(), strings.ToLower(id)) {
			continue
		}
		if found >= 0 {
			return 0, errors.New("more than one token has an id that begins so")
		}
		found = i
	}
	if found < 0 {
		return 0, errors.New("no token has this id; token list shows the ids")
	}
	return found, nil
}
