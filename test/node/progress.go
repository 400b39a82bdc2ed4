package node

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Progress prints what goes on, each line with the time since the beginning.
type Progress struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	tty   bool
}

// NewProgress starts the clock.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, start: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.tty = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// Say prints one line.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%7.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// During prints while run lasts: one line that is rewritten on a terminal, else a line every half minute.
func (p *Progress) During(what, hint string, run func() error) error {
	begin, stop, stopped := time.Now(), make(chan struct{}), make(chan struct{})
	line := func(end string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(p.out, "%7.1fs  %s … %s%s%s", time.Since(p.start).Seconds(), what, time.Since(begin).Round(time.Second), hint, end)
	}
	every, head, tail := 30*time.Second, "", "\n"
	if p.tty {
		every, head, tail = time.Second, "\r\x1b[K", ""
	}
	line(tail)
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				fmt.Fprint(p.out, head)
				line(tail)
			}
		}
	}()
	err := run()
	close(stop)
	<-stopped
	if p.tty {
		fmt.Fprint(p.out, head)
	}
	if err == nil {
		p.Say("%s: done in %s", what, time.Since(begin).Round(100*time.Millisecond))
	}
	return err
}
