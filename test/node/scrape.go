package node

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// Scrape is the samples of a Prometheus exposition, a line each.
type Scrape []string

// ReadScrape reads an exposition.
func ReadScrape(r io.Reader) (s Scrape, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			s = append(s, line)
		}
	}
	return s, lines.Err()
}

// Sum adds up the series of a name that have all of the labels, each given as name="value".
func (s Scrape) Sum(name string, labels ...string) (sum float64, series int) {
next:
	for _, line := range s {
		if line != name && !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue next
			}
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err == nil {
			sum, series = sum+value, series+1
		}
	}
	return sum, series
}
