package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser is a Chromium; the test is skipped where there is none, and fails where one has to be.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "the page can't be tried without a Chromium (Debian: apt-get install chromium)"
	if os.Getenv("STANDPIPE_WITNESS_REQUIRED") == "1" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// foreign collects requests that go beyond the page's own file.
type foreign struct {
	mu   sync.Mutex
	urls []string
}

func (f *foreign) see(event any) {
	if e, ok := event.(*network.EventRequestWillBeSent); ok && !strings.HasPrefix(e.Request.URL, "file:") && !strings.HasPrefix(e.Request.URL, "data:") {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.urls = append(f.urls, e.Request.URL)
	}
}

// looks is what the page tells of itself.
type looks struct {
	Plots    int      `json:"plots"`
	Shown    []string `json:"shown"`   // the plots that can be seen, by their names
	Narrow   int      `json:"narrow"`  // of them, those that are no plots to look at
	Clipped  []string `json:"clipped"` // texts that leave their plot
	Overflow float64  `json:"overflow"`
	Paper    string   `json:"paper"`
	Line     string   `json:"line"` // the colour of the first line
	Last     string   `json:"last"` // heading
}

const pageLook = `(() => {
	const plots = [...document.querySelectorAll("svg.plot")], shown = plots.filter(p => p.getClientRects().length > 0);
	const clipped = shown.flatMap(p => [...p.querySelectorAll("text")].filter(t => {
		const a = t.getBoundingClientRect(), b = p.getBoundingClientRect();
		return a.left < b.left - 0.5 || a.right > b.right + 0.5 || a.top < b.top - 0.5 || a.bottom > b.bottom + 0.5;
	}).map(t => t.textContent));
	return {
		plots: plots.length,
		shown: shown.map(p => p.getAttribute("aria-label")),
		narrow: shown.filter(p => p.getBoundingClientRect().width < 280 || p.getBoundingClientRect().height < 180 || p.querySelectorAll("path.line").length < 7).length,
		clipped: clipped,
		overflow: document.documentElement.scrollWidth - window.innerWidth,
		paper: getComputedStyle(document.body).backgroundColor,
		line: getComputedStyle(document.querySelector("path.line")).stroke,
		last: [...document.querySelectorAll("h2")].at(-1).textContent,
	};
})()`

// The page in a real browser: nothing is wrong with it, and its plots are there, on a desk and on a phone, light and dark.
func TestBenchBrowser(t *testing.T) {
	exe := browser(t)
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(benchSample().page()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(exe), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(time.Minute))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	var f foreign
	if err := chromedp.Listen(ctx, f.see); err != nil {
		t.Fatal(err)
	}
	console := chromedp.Console(ctx)
	do := func(steps ...chromedp.Action[chromedp.Void]) (l looks) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
		l, err := chromedp.Run(ctx, chromedp.Evaluate[looks](pageLook))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	scheme := func(name string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, at *chromedp.Target) error {
			_, err := cdp.Call(ctx, at, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
			return err
		})
	}
	light := do(chromedp.EmulateViewport(1200, 900), scheme("light"), chromedp.Navigate("file://"+path))
	dark := do(scheme("dark"))
	phone := do(chromedp.EmulateViewport(360, 740))
	other := do(chromedp.Click(chromedp.CSS(`label[for="d0"]`)))
	// The last message is the test's own: what came before it would have been seen.
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](`console.log("the end")`)); err != nil {
		t.Fatal(err)
	}
	for m, err := range console {
		if err != nil {
			t.Fatal(err)
		}
		if m.Text == "the end" {
			break
		}
		t.Errorf("the browser says: %s: %s", m.Type, m.Text)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.urls) > 0 {
		t.Errorf("the page asks for %q", f.urls)
	}
	for name, l := range map[string]looks{"light": light, "dark": dark, "phone": phone, "64 B": other} {
		if l.Plots != 10 || len(l.Shown) != 4 || l.Narrow > 0 || len(l.Clipped) > 0 || l.Overflow > 0 || l.Last != "What to take" {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if light.Shown[3] != "distribution of round trips of 4 KiB" || other.Shown[3] != "distribution of round trips of 64 B" {
		t.Errorf("the distributions that are shown: %q, %q", light.Shown[3], other.Shown[3])
	}
	if light.Paper == dark.Paper || light.Line == dark.Line {
		t.Errorf("light and dark look the same: %s, %s", light.Paper, light.Line)
	}
}
