package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Who runs a command may be somebody else than who runs the service: root, for
// example. So a file that replaces another keeps owner, group and mode, and a new file
// that root makes for a service belongs to the owner of the directory.

// keepOwner gives a file that is to replace another one the owner, group and mode of
// that one.
func keepOwner(file *os.File, old os.FileInfo) error {
	uid, gid, ok := ownerOf(old)
	if !ok {
		return nil // the system has no such owners
	}
	now, err := file.Stat()
	if err != nil {
		return err
	}
	mode := old.Mode().Perm()
	nowUID, nowGID, _ := ownerOf(now)
	if uid != nowUID || gid != nowGID {
		err := file.Chown(uid, gid)
		if err != nil && (uid != nowUID || mode&0o070 != 0) { // without rights, the group does not matter
			return fmt.Errorf("%s belongs to user %d and group %d, which its replacement can't keep; run this as that user or as root: %w",
				old.Name(), uid, gid, err)
		}
	}
	return file.Chmod(mode)
}

// giveOwner gives a new file the owner and group of another one, if this process is
// root's and the other one is not.
func giveOwner(file *os.File, like os.FileInfo) error {
	if uid, gid, ok := ownerOf(like); ok && os.Geteuid() == 0 && uid != 0 {
		return file.Chown(uid, gid)
	}
	return nil
}

// giveDirectorysOwner gives the new file at path the owner and group of its directory,
// if this process is root's and the directory is not.
func giveDirectorysOwner(path string) error {
	directory, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if uid, _, ok := ownerOf(directory); !ok || uid == 0 || os.Geteuid() != 0 {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	// The directory's owner must not get a file that root has elsewhere.
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || !hasOneName(info) {
		return err
	}
	return giveOwner(file, directory)
}

// trusted returns an error if a file may be the work of another user. In a directory
// where every user can make files, a file must belong to this user, to root, or to the
// owner of the directory or of the database, and nobody else may write it. Elsewhere,
// the owner of the directory has chosen who can make files.
func trusted(path, database string, info os.FileInfo) error {
	uid, _, ok := ownerOf(info)
	if !ok {
		return nil
	}
	if err := trustedUser(path, database, uid); err != nil {
		return err
	}
	if open, err := openToAll(path); err != nil || !open {
		return err
	}
	if othersMayWrite(info) {
		return fmt.Errorf("%s is not trusted: other users may write it (mode %v), and its directory is open to all users", path, info.Mode().Perm())
	}
	return nil
}

// trustedUser is trusted for the user that a file belongs to, or that listens on it.
func trustedUser(path, database string, uid int) error {
	open, err := openToAll(path)
	if err != nil || !open || uid == 0 || uid == os.Geteuid() {
		return err
	}
	for _, trusted := range []string{filepath.Dir(path), database} {
		// Without a database, nobody owns it.
		if info, err := os.Stat(trusted); err == nil {
			if owner, _, ok := ownerOf(info); ok && owner == uid {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not trusted: it belongs to user %d, and its directory is open to all users", path, uid)
}

// ownDatabase returns an error if the database at path may be the work of another user,
// who would bring the tokens along. No file is no error.
func ownDatabase(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if uid, _, ok := ownerOf(info); ok {
		return trustedUser(path, "", uid)
	}
	return nil
}

// openToAll reports whether every user can make files in the directory of path.
func openToAll(path string) (bool, error) {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	return runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0, nil
}

// othersMayWrite reports whether the mode lets users other than the owner write.
func othersMayWrite(info fs.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 // where modes say nothing about other users
}
