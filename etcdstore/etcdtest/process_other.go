//go:build !linux

package etcdtest

import (
	"os/exec"
	"syscall"
)

// attributes are none. A member ends when its standard input does.
func attributes() *syscall.SysProcAttr { return nil }

func runOnOwnThread(cmd *exec.Cmd, started func(error)) error {
	err := cmd.Start()
	started(err)
	if err != nil {
		return err
	}
	return cmd.Wait()
}
