// Command modproxy makes a file-system module proxy of the modules in this
// checkout, at the version at which they require each other, and prints what to
// set GOPROXY to. It is ours because a module proxy serves what is published, and
// this shows what a user gets before it is.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

func main() {
	out := flag.String("o", "", "the `folder` to write; made if it does not exist")
	flag.Parse()
	if *out == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "modproxy:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	t, err := tree.Load(".")
	if err != nil {
		return err
	}
	url, err := t.WriteProxy(out)
	if err != nil {
		return err
	}
	fmt.Println(url)
	return nil
}
