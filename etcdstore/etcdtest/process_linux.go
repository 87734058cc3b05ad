package etcdtest

import (
	"os/exec"
	"runtime"
	"syscall"
)

// attributes make the kernel kill a member with its parent, even while it is frozen.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// runOnOwnThread runs a command. To the kernel the parent is the thread, which
// therefore must live as long as the command.
func runOnOwnThread(cmd *exec.Cmd, started func(error)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started(err)
	if err != nil {
		return err
	}
	return cmd.Wait()
}
