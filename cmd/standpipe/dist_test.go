//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// releaseConfig is what tools/dist has to do likewise, of .goreleaser.yaml.
type releaseConfig struct {
	ProjectName string `yaml:"project_name"`
	Builds      []struct {
		Main, Binary   string
		Env            []string
		Goos, Goarch   []string
		Flags, Ldflags []string
		ModTimestamp   string `yaml:"mod_timestamp"`
	}
	Archives []struct {
		NameTemplate    string `yaml:"name_template"`
		Formats         []string
		FormatOverrides []struct {
			Goos    string
			Formats []string
		} `yaml:"format_overrides"`
	}
	Nfpms []struct {
		Formats  []string
		Contents []struct{ Src, Dst string }
	}
	Sboms    []struct{ Documents []string }
	Checksum struct {
		NameTemplate string `yaml:"name_template"`
	}
}

// plan is what tools/dist would make of that, a file or a flag on a line, as it says it itself.
func (c releaseConfig) plan(t *testing.T) []string {
	t.Helper()
	if len(c.Builds) != 1 || len(c.Archives) != 1 || len(c.Nfpms) != 1 || len(c.Sboms) != 1 {
		t.Fatal("there is to be one entry of each kind: builds, archives, nfpms, sboms")
	}
	b := c.Builds[0]
	ldflags := strings.NewReplacer("{{ .Version }}", "$version", "{{ .FullCommit }}", "$commit", "{{ .CommitDate }}", "$date",
		"{{ .IsGitDirty }}", "$dirty").Replace(strings.Join(b.Ldflags, " "))
	lines := []string{"flags " + strings.Join(b.Flags, " "), "ldflags " + ldflags, "file " + c.Checksum.NameTemplate}
	for _, goos := range b.Goos {
		for _, arch := range b.Goarch {
			name := func(template string) string {
				return strings.NewReplacer("{{ .ProjectName }}", c.ProjectName, "{{ .Version }}", "VERSION", "{{ .Os }}", goos, "{{ .Arch }}", arch).Replace(template)
			}
			format := c.Archives[0].Formats[0]
			for _, o := range c.Archives[0].FormatOverrides {
				if o.Goos == goos {
					format = o.Formats[0]
				}
			}
			lines = append(lines, "build "+goos+"/"+arch, "file "+name(c.Archives[0].NameTemplate)+"."+format, "file "+name(c.Sboms[0].Documents[0]))
			if goos == "linux" {
				lines = append(lines, "file standpipe_VERSION_"+arch+"."+c.Nfpms[0].Formats[0])
			}
		}
	}
	return lines
}

// The two ways to build a release make the same files, with the same flags.
func TestDistPlan(t *testing.T) {
	top := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(top, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config releaseConfig
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bash", filepath.Join(top, "tools", "dist"), "--plan").Output()
	if err != nil {
		t.Fatal(err)
	}
	said, want := strings.Split(strings.TrimSpace(string(out)), "\n"), config.plan(t)
	slices.Sort(said)
	slices.Sort(want)
	if !slices.Equal(said, want) {
		t.Errorf("tools/dist makes:\n%s\n.goreleaser.yaml:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	if b := config.Builds[0]; !slices.Equal(b.Env, []string{"CGO_ENABLED=0"}) || b.Main != "./cmd/standpipe" || b.ModTimestamp == "" {
		t.Errorf("the build is not static, or not reproducible, or not of the command: %+v", b)
	}
	script, err := os.ReadFile(filepath.Join(top, "tools", "dist"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range config.Nfpms[0].Contents {
		if place := strings.Trim(c.Dst, "/"); !strings.Contains(string(script), place) && !strings.Contains(string(script), "$doc/"+filepath.Base(place)) {
			t.Errorf("tools/dist puts nothing at %s", c.Dst)
		}
	}
}
