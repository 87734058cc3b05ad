// Command modproxy makes a file-system module proxy of the modules in this
// checkout and prints the value for GOPROXY. The modules have the version at
// which they require each other. It is ours because other proxies serve only
// published modules.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

func main() {
	out := flag.String("o", "", "the `directory` to write; it is made if it does not exist")
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
