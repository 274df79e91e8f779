package main

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	platform := []debug.BuildSetting{{Key: "GOOS", Value: "plan9"}, {Key: "GOARCH", Value: "mips"}}
	repository := append([]debug.BuildSetting{
		{Key: "vcs.revision", Value: "c0ffee"},
		{Key: "vcs.time", Value: "2026-11-26T04:05:06+01:00"},
		{Key: "vcs.modified", Value: "true"},
	}, platform...)
	const end = "go:       go1.26.0\nplatform: plan9/mips\n"
	for _, test := range []struct {
		version  string
		said     map[string]string
		settings []debug.BuildSetting
		want     string
	}{
		{"", nil, platform, "standpipe (devel)\ncommit:   unknown\n" + end},
		{"v0.1.0+dirty", nil, repository, "standpipe v0.1.0+dirty\ncommit:   c0ffee of 2026-11-26T03:05:06Z, with changes\n" + end},
		{"1.2.3", map[string]string{"vcs.revision": "beef", "vcs.time": "2026-11-27T00:00:00Z", "vcs.modified": "false"}, platform,
			"standpipe 1.2.3\ncommit:   beef of 2026-11-27T00:00:00Z\n" + end},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26.0", Settings: test.settings}
		if got := buildOf(info, test.version, test.said).String(); got != test.want {
			t.Errorf("got:\n%swant:\n%s", got, test.want)
		}
	}
}
