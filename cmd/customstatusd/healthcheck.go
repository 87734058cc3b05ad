package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// healthCheckTimeout bounds the wait for an answer.
const healthCheckTimeout = 5 * time.Second

func (p *process) healthCheckCommand() *cobra.Command {
	config := new(serveConfig)
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running server for its health",
		Long: `Asks the server at --addr for GET /healthz and prints the answer. The exit code is 0 if
the answer is 200, and otherwise 1, also without an answer within 5 seconds. It is for
containers that have no other program to ask with.

It takes the environment variables of serve. With --tls-cert it asks over HTTPS, and
accepts any certificate, because it sends nothing secret.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(config.addr); err != nil {
				return usagef("--addr: %v", err)
			}
			if err := p.healthCheck(cmd.Context(), config); err != nil {
				return fmt.Errorf("healthcheck: %w", err)
			}
			return nil
		},
	}
	addAddr(cmd, &config.addr)
	cmd.Flags().Lookup("addr").Usage = "the `HOST:PORT` that the server listens on"
	cmd.Flags().StringVar(&config.tlsCert, "tls-cert", "", "the `FILE` that the server serves HTTPS with")
	cmd.Flags().VisitAll(fromEnvironment)
	return cmd
}

func (p *process) healthCheck(ctx context.Context, config *serveConfig) error {
	addr, err := net.ResolveTCPAddr("tcp", config.addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthCheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.url(addr)+healthPath, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		if request := (*url.Error)(nil); errors.As(err, &request) {
			err = request.Err
		}
		return noAnswer(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return noAnswer(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s: %s", resp.Status, text)
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", text)
	return err
}

// noAnswer says what the end of a wait means.
func noAnswer(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("the server has not answered in time")
	}
	return err
}
