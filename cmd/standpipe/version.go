package main

import (
	"runtime/debug"
	"strings"
	"time"
)

// What a release says of itself, by -ldflags '-X main.version=1.2.3'. Empty: the go command knows.
var version, commit, commitDate, dirty string

// build is what the program knows of how it was built.
type build struct {
	version  string
	commit   string    // "": it was not built from a repository
	made     time.Time // of the commit
	modified bool      // there were changes that are in no commit
	toolchain,
	platform string
}

func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if version == "" {
		return buildOf(info, info.Main.Version, nil)
	}
	return buildOf(info, version, map[string]string{"vcs.revision": commit, "vcs.time": commitDate, "vcs.modified": dirty})
}

// buildOf reads a program's build information. What the release says goes before what the go command noted.
func buildOf(info *debug.BuildInfo, version string, said map[string]string) build {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, value := range said {
		settings[key] = value
	}
	b := build{
		version:   version,
		commit:    settings["vcs.revision"],
		modified:  settings["vcs.modified"] == "true",
		toolchain: info.GoVersion,
		platform:  settings["GOOS"] + "/" + settings["GOARCH"],
	}
	if b.version == "" {
		b.version = "(devel)" // as the go command says it
	}
	made, _ := time.Parse(time.RFC3339, settings["vcs.time"])
	b.made = made.UTC()
	return b
}

// String is what --version prints: the name and the version, and then a fact on each line.
func (b build) String() string {
	commit := "unknown"
	if b.commit != "" {
		commit = b.commit
	}
	if !b.made.IsZero() {
		commit += " of " + b.made.Format(time.RFC3339)
	}
	if b.modified {
		commit += ", with changes"
	}
	return strings.Join([]string{
		"standpipe " + b.version,
		"commit:   " + commit,
		"go:       " + b.toolchain,
		"platform: " + b.platform,
		"",
	}, "\n")
}
