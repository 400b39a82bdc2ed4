package cri

import "testing"

// FuzzParseFile: crictl.yaml is written by people and tools.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte("runtime-endpoint: unix:///run/containerd/containerd.sock\ntimeout: 2\ndebug: false\n"))
	f.Add([]byte("timeout: 1e99\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseFile(data)
		if err == nil && file.Timeout < 0 {
			t.Errorf("a timeout of %s", file.Timeout)
		}
	})
}
