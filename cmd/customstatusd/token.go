package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func (p *process) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make, list and revoke tokens"}
	cmd.AddCommand(p.tokenAddCommand(), p.tokenListCommand(), p.tokenRevokeCommand())
	return cmd
}

const (
	maxUserID = 128
	maxLabel  = 120
)

func (p *process) tokenAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Make a token and print it once",
		Long: `Makes a token and prints the two headers that a client sends with it. Only a hash
of the token is kept. A running server accepts the token at once. If there is no tokens
file yet, it is made, with a note on standard error.`,
		Example: `    # The list of processes never shows the token.
    (umask 077 && customstatusd token add > headers)
    curl --header @headers http://127.0.0.1:3000/api/v1/custom-user-status.list`,
		Args: arguments(0, 0),
	}
	var store address
	var tokens string
	addStore(cmd, &store)
	addTokensFile(cmd, &tokens)
	user := cmd.Flags().String("user", "", "the `ID` of the token's user; the default is a new user")
	readOnly := cmd.Flags().Bool("read-only", false, "let the token list statuses, but not create, update or delete them")
	label := cmd.Flags().String("label", "", "a `TEXT` that token list shows")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(*user) > maxUserID || strings.ContainsFunc(*user, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return usagef("--user must be at most %d ASCII characters, none of them a space", maxUserID)
		}
		if utf8.RuneCountInString(*label) > maxLabel || !utf8.ValidString(*label) || strings.ContainsFunc(*label, unicode.IsControl) {
			return usagef("--label must be at most %d printable characters", maxLabel)
		}
		printed, isNew := false, false
		at, err := tokensPlace(tokens, store)
		if err == nil {
			err = editTokens(at, func(r *tokenRecords) error {
				_, err := os.Stat(at.path)
				isNew = errors.Is(err, fs.ErrNotExist)
				made := r.addToken(*user, !*readOnly, *label)
				// Before the token is kept: nobody knows one that can't be printed.
				_, err = io.WriteString(p.stdout, made.headers())
				printed = err == nil
				return err
			})
		}
		if err != nil && printed {
			return fmt.Errorf("token add: the printed token is not valid: %w", err)
		}
		if err != nil {
			return fmt.Errorf("token add: %w", err)
		}
		if isNew {
			p.sayNewTokens(at)
		}
		return tellServer(cmd.Context(), store)
	}
	return cmd
}

// sayNewTokens says that a tokens file was made. In a wrong directory, that is not
// what the caller wants.
func (p *process) sayNewTokens(at place) {
	without := ""
	if at.database != "" {
		if _, err := os.Stat(at.database); errors.Is(err, fs.ErrNotExist) {
			without = fmt.Sprintf("; there is no database %s yet", at.database)
		}
	}
	fmt.Fprintf(p.stderr, "customstatusd: token add: made the tokens file %s%s\n", at.path, without)
}

// tellServer makes the server that holds the database read its tokens again. It does
// nothing if no server answers.
func tellServer(ctx context.Context, store address) error {
	if store.shared() {
		return nil // there is no socket; servers notice the change within a second
	}
	pl, err := findPlace(store.path)
	if err != nil {
		return err
	}
	server, err := dialControl(ctx, controlPath(pl.path))
	if errors.As(err, new(*untrusted)) || errors.As(err, new(*unanswered)) {
		return fmt.Errorf("the tokens file has changed, but the server was not told: %w", err)
	}
	if err != nil {
		return nil // without a socket, a server notices the change within a second
	}
	err = errors.Join(server.reload(ctx), server.close())
	if err != nil {
		return fmt.Errorf("the tokens file has changed, but the server could not read it: %w", err)
	}
	return nil
}

func (p *process) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens",
		Long: `Lists the tokens, each with its id, its user, what it allows, when it was made, and
its label. The token itself is not kept, so the list can't show it.`,
		Args: arguments(0, 0),
	}
	var store address
	var tokens string
	addStore(cmd, &store)
	addTokensFile(cmd, &tokens)
	cmd.RunE = func(*cobra.Command, []string) error { return p.tokenList(tokens, store) }
	return cmd
}

func (p *process) tokenList(tokens string, database address) error {
	at, err := tokensPlace(tokens, database)
	if err != nil {
		return fmt.Errorf("token list: %w", err)
	}
	records, _, err := readTokens(at)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(p.stderr, "customstatusd: token list: there is no tokens file %s\n", at.path)
	} else if err != nil {
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

func (p *process) tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke [ID ...]",
		Short: "Revoke tokens",
		Long: `Revokes the tokens with these ids, which "token list" shows, or all tokens of a user.
The first 8 digits of an id are enough. A running server refuses the tokens at once,
and ends their event streams.`,
		Args: arguments(0, -1),
	}
	var store address
	var tokens string
	addStore(cmd, &store)
	addTokensFile(cmd, &tokens)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, ids []string, _ string) ([]string, cobra.ShellCompDirective) {
		if err := p.readSettings(cmd); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		at, err := tokensPlace(tokens, store)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return completeIDs(at, ids), cobra.ShellCompDirectiveNoFileComp
	}
	user := cmd.Flags().String("user", "", "revoke all tokens of the user with this `ID`")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if (*user == "") == (len(ids) == 0) {
			return usagef("name either tokens or a --user")
		}
		at, err := tokensPlace(tokens, store)
		if err != nil {
			return fmt.Errorf("token revoke: %w", err)
		}
		if err := p.tokenRevoke(at, *user, ids); err != nil {
			return err
		}
		return tellServer(cmd.Context(), store)
	}
	return cmd
}

// completeIDs returns the ids of the tokens, without those that are given already.
func completeIDs(at place, given []string) []string {
	records, _, err := readTokens(at)
	if err != nil {
		return nil
	}
	var ids []string
	for _, r := range records.Tokens {
		if !slices.Contains(given, r.id()) {
			ids = append(ids, cobra.CompletionWithDesc(r.id(), strings.TrimSpace(r.UserID+" "+r.Label)))
		}
	}
	return ids
}

// tokenRevoke revokes all tokens of the user, unless it is "", and those with the
// ids.
func (p *process) tokenRevoke(at place, user string, ids []string) error {
	revoked := 0
	err := editTokens(at, func(r *tokenRecords) error {
		before := len(r.Tokens)
		if user != "" {
			r.Tokens = slices.DeleteFunc(r.Tokens, func(t tokenRecord) bool { return t.UserID == user })
			if len(r.Tokens) == before {
				return fmt.Errorf("the user %q has no tokens", user)
			}
		}
		for n, id := range ids {
			i, err := r.find(id)
			if err != nil {
				// The error does not repeat the argument: it might be a token.
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
	_, err = fmt.Fprintf(p.stdout, "revoked %d\n", revoked)
	return err
}

// leastIDDigits is how many digits of an id are needed at least. Fewer could name
// another token by mistake.
const leastIDDigits = 8

// find returns the index of the one token whose id begins with id.
func (r *tokenRecords) find(id string) (int, error) {
	found := -1
	for i, t := range r.Tokens {
		if len(id) < leastIDDigits || !strings.HasPrefix(t.hashDigits(), strings.ToLower(id)) {
			continue
		}
		if found >= 0 {
			return 0, errors.New("more than one token has an id that begins like this")
		}
		found = i
	}
	if found < 0 {
		return 0, errors.New("no token has this id; token list shows the ids")
	}
	return found, nil
}
