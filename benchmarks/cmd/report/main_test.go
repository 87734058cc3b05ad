package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/customstatus/customstatus/benchmarks/internal/report"
)

// TestQuick runs every benchmark of every contestant for an instant.
func TestQuick(t *testing.T) {
	if err := run(true, false, 0, t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

func TestHead(t *testing.T) {
	head := head(3, "ext4", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r, err := report.Read(strings.NewReader(head+"BenchmarkX/n=100/by=a-2 1 5 ns/op\n"), "bench.txt")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"rounds": "3", "filesystem": "ext4", "date": "2026-01-02", "toolchain": runtime.Version(), "goos": runtime.GOOS,
	} {
		if got := r.Config[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if runtime.GOOS == "linux" {
		for _, key := range []string{"processor", "memory", "system"} {
			if r.Config[key] == "" {
				t.Errorf("there is no %s", key)
			}
		}
	}
}

func TestFilesystemOf(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	if got := filesystemOf("/proc/self"); got != "proc" {
		t.Errorf("/proc is %q", got)
	}
	if got := filesystemOf(t.TempDir()); got == "" || got == "proc" {
		t.Errorf("the directory for temporary files is %q", got)
	}
}

func TestCheck(t *testing.T) {
	raw := filepath.Join(t.TempDir(), "bench.txt")
	if err := os.WriteFile(raw, []byte("BenchmarkX/n=100/by=sqlite-2 1 5 ns/op\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := check(raw); err == nil || !strings.Contains(err.Error(), "no result of") {
		t.Errorf("got error %v", err)
	}
	if err := check(raw + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}
