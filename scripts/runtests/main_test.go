package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name, events, want string
		failed             int
	}{
		{
			name: "skips and figures of a package that passes",
			events: `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: just talk\n"}
{"Action":"attr","Package":"p","Test":"TestA","Key":"rounds","Value":"40"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: needs a browser\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestD/one","Output":"    a_test.go:9: not for this\n"}
{"Action":"skip","Package":"p","Test":"TestD/one"}
{"Action":"output","Package":"p","Test":"TestD/two","Output":"    a_test.go:10: needs a browser\n"}
{"Action":"skip","Package":"p","Test":"TestD/two"}
{"Action":"output","Package":"p","Test":"TestD/three","Output":"    a_test.go:9: not for this\n"}
{"Action":"skip","Package":"p","Test":"TestD/three"}
{"Action":"output","Package":"p","Test":"TestE/one","Output":"    a_test.go:9: not for this\n"}
{"Action":"skip","Package":"p","Test":"TestE/one"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"coverage: 91.0% of statements\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\tcoverage: 91.0% of statements\n"}
{"Action":"pass","Package":"p"}
`,
			want: "ok  \tp\t0.1s\tcoverage: 91.0% of statements\n" +
				"      TestA: rounds=40\n" +
				"      skipped TestB: needs a browser\n" +
				"      skipped TestC: no reason given\n" +
				"      skipped TestD/one /three: not for this\n" +
				"      skipped TestD/two: needs a browser\n" +
				"      skipped TestE/one: not for this\n" +
				"1 tests passed, 0 failed, 6 skipped\n",
		}, {
			name: "the output of the tests that failed, and of no other",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- FAIL: TestB\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`,
			want:   "--- FAIL: TestB\nFAIL\nFAIL\tp\t0.1s\n1 tests passed, 1 failed, 0 skipped\n",
			failed: 1,
		}, {
			name: "the output of a test that took the process with it",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: oh\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`,
			want:   "panic: oh\nFAIL\tp\t0.1s\n0 tests passed, 1 failed, 0 skipped\n",
			failed: 1,
		}, {
			name: "what the compiler says, packages without tests, and lines that are no events",
			events: `{"Action":"build-output","ImportPath":"p","Output":"./p.go:1:2: undefined: x\n"}
{"Action":"build-fail","ImportPath":"p"}
go: downloading something
{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}
{"Action":"skip","Package":"q"}`,
			want: "./p.go:1:2: undefined: x\ngo: downloading something\n?   \tq\t[no test files]\n" +
				"0 tests passed, 0 failed, 0 skipped\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(tt.events)); err != nil {
				t.Fatal(err)
			}
			r.summary()
			if out.String() != tt.want {
				t.Errorf("printed\n%s\nwant\n%s", out.String(), tt.want)
			}
			if r.failed != tt.failed {
				t.Errorf("failed %d, want %d", r.failed, tt.failed)
			}
		})
	}
}
