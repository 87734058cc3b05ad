// Command figures reads the output of "go test -json" and prints the figures
// that tests report with (*testing.T).Attr. It is ours because gotestsum does
// not print attributes.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(events io.Reader, out io.Writer) error {
	header := "\n=== Figures\n"
	for d := json.NewDecoder(events); ; {
		var event struct{ Action, Package, Test, Key, Value string }
		if err := d.Decode(&event); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if event.Action != "attr" {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s%s %s: %s=%s\n",
			header, path.Base(event.Package), event.Test, event.Key, event.Value); err != nil {
			return err
		}
		header = ""
	}
}
