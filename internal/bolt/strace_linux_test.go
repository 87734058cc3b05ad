package bolt

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// childTraced is the process that TestStoreSyncsInOrder traces.
func childTraced(t *testing.T, path string) {
	s, err := Open(path, nil)
	require.NoError(t, err)
	fmt.Fprintln(os.Stderr, "committed 0")
	powerHistory(t, 4096, s, func(now contents) {
		fmt.Fprintln(os.Stderr, "committed", now.revision)
	})
	require.NoError(t, s.Close())
}

// findStrace returns the path of strace, or skips the test.
func findStrace(t *testing.T) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: what the store does at the level of system calls is NOT tested")
	}
	if out, err := exec.Command(strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace can't be used here, what the store does at the level of system calls is NOT tested: %s", out)
	}
	return strace
}

// traced runs a child under strace and returns the system calls, one in a line,
// with strings in hexadecimal.
func traced(t *testing.T, calls, child, path string) []string {
	log := filepath.Join(t.TempDir(), "trace")
	runChild(t, childCommand(child, path, findStrace(t), "-f", "-xx", "-s", "100000", "-o", log, "-e", "trace="+calls))
	file, err := os.Open(log)
	require.NoError(t, err)
	defer file.Close()
	var lines []string
	unfinished := make(map[string]string)
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<30)
	for scanner.Scan() {
		pid, line, _ := strings.Cut(scanner.Text(), " ")
		line = strings.TrimSpace(line)
		if begin, ok := strings.CutSuffix(line, " <unfinished ...>"); ok {
			unfinished[pid] = begin
			continue
		}
		if _, end, ok := strings.Cut(line, " resumed>"); ok && strings.HasPrefix(line, "<... ") {
			line = unfinished[pid] + end
		}
		lines = append(lines, line)
	}
	require.NoError(t, scanner.Err())
	return lines
}

var (
	callLine   = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+)`)
	quotedText = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
)

// text returns the strings in the arguments of a call.
func text(t *testing.T, args string) []string {
	var all []string
	for _, m := range quotedText.FindAllStringSubmatch(args, -1) {
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], `\x`, ""))
		require.NoError(t, err)
		all = append(all, string(b))
	}
	return all
}

// TestStoreSyncsInOrder records the writes and syncs of a store and cuts the
// power at every point. It also checks how a new file gets its name.
func TestStoreSyncsInOrder(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	path := filepath.Join(directory, "statuses.db")
	lines := traced(t, "openat,pwrite64,write,ftruncate,fsync,fdatasync,linkat,rename,renameat,renameat2,unlinkat,close", "traced", path)

	number := func(s string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		require.NoError(t, err)
		return n
	}
	var (
		ops             []fileOp
		names           = make(map[int64]string) // of open files
		unsynced        = make(map[string]bool)  // names of files with writes since the last sync
		linked          = false
		opened          = 0 // times that the file was synced under its name
		directorySynced = 0
		named           = 0 // operations until the file has its name
	)
	for _, line := range lines {
		m := callLine.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[3], "-") {
			continue
		}
		call, args, result := m[1], m[2], m[3]
		fields := strings.Split(args, ", ")
		name := ""
		if call != "openat" && call != "linkat" && !strings.HasPrefix(call, "rename") && call != "unlinkat" {
			name = names[number(fields[0])]
		}
		ours := strings.HasPrefix(name, path)
		switch call {
		case "openat":
			names[number(result)] = text(t, args)[0]
			if strings.Contains(args, "O_TMPFILE") {
				names[number(result)] = path + " before it has a name"
			}
		case "close":
			delete(names, number(fields[0]))
		case "pwrite64":
			if ours {
				data := text(t, args)[0]
				require.Len(t, data, int(number(result)), "a write was cut short")
				ops = append(ops, fileOp{kind: opWrite, at: number(fields[len(fields)-1]), data: []byte(data)})
				unsynced[name] = true
			}
		case "ftruncate":
			if ours {
				ops = append(ops, fileOp{kind: opResize, size: number(fields[1])})
				unsynced[name] = true
			}
		case "fsync", "fdatasync":
			if ours {
				ops = append(ops, fileOp{kind: opSync})
				delete(unsynced, name)
			}
			if name == path {
				opened++
			}
			if linked && name == directory {
				directorySynced++
			}
		case "linkat":
			if names := text(t, args); names[1] == path {
				require.Empty(t, unsynced, "the new file got its name before it was synced")
				linked, named = true, len(ops)
			}
		case "rename", "renameat", "renameat2":
			for _, name := range text(t, args) { // a test under -cover renames its own files, too
				require.NotEqual(t, directory, filepath.Dir(name), "something was renamed: %s", line)
			}
		case "write":
			var revision uint64
			if n, _ := fmt.Sscanf(strings.Join(text(t, args), ""), "committed %d", &revision); n == 1 {
				require.GreaterOrEqual(t, directorySynced, 2, "the directory was not synced when the file was made and when it was opened")
				require.Positive(t, opened, "what another process may have left was not synced")
				require.Empty(t, unsynced, "a commit returned before it was synced")
				ops = append(ops, fileOp{kind: opAcknowledge, revision: revision})
			}
		}
	}
	require.True(t, linked)
	require.Positive(t, named)

	// Repeating the commits gives the contents at each revision.
	again := openStore(t, tempPath(t))
	states := map[uint64]contents{0: load(t, again)}
	powerHistory(t, 4096, again, func(now contents) { states[now.revision] = now })
	var file []byte
	for _, op := range ops[:named] {
		if op.kind != opSync {
			file = op.apply(file)
		}
	}
	survives(t, file, ops[named:], states)
}
