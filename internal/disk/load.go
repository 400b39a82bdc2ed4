package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
)

// Stall is the share of time in which tasks waited for a resource (Documentation/accounting/psi.rst of the kernel).
type Stall struct {
	// Ratios, 0 to 1, over 10, 60 and 300 seconds.
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`

	Total time.Duration `json:"-"`
}

// Pressure is how tasks wait for one resource: Some is that at least one did, Full that all did. Kernels before 5.13 have no Full of the CPU.
type Pressure struct {
	Some *Stall `json:"some"`
	Full *Stall `json:"full,omitempty"`
}

// Load is how busy the node is. A starved node fails pulls too. What the kernel does not tell is nil.
type Load struct {
	CPU    *Pressure `json:"cpu,omitempty"`
	Memory *Pressure `json:"memory,omitempty"`
	IO     *Pressure `json:"io,omitempty"`
	// Average is the load average over 1, 5 and 15 minutes.
	Average *[3]float64 `json:"loadAverage,omitempty"`
	// MemoryBytes is what the node has, MemoryAvailableBytes what could be had without swapping.
	MemoryBytes          *int64 `json:"memoryBytes,omitempty"`
	MemoryAvailableBytes *int64 `json:"memoryAvailableBytes,omitempty"`
	// Err says what could not be read, beside pressure that this kernel does not have.
	Err error `json:"-"`
}

const mostPressure = 4096 // bytes; the kernel writes two lines

// ReadLoad reads it. dir is /proc/pressure where it is empty.
func ReadLoad(ctx context.Context, dir string) Load {
	var l Load
	if dir == "" {
		dir = "/proc/pressure"
	}
	for name, to := range map[string]**Pressure{"cpu": &l.CPU, "memory": &l.Memory, "io": &l.IO} {
		text, err := readBounded(path.Join(dir, name), mostPressure)
		if err == nil {
			var p Pressure
			if p, err = parsePressure(string(text)); err == nil {
				*to = &p
			}
		}
		// With psi=0 the files are there and reading them is not supported; without CONFIG_PSI there are none.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) {
			l.Err = errors.Join(l.Err, fmt.Errorf("read pressure of %s: %w", name, err))
		}
	}
	if average, err := load.AvgWithContext(ctx); err == nil {
		l.Average = &[3]float64{average.Load1, average.Load5, average.Load15}
	} else {
		l.Err = errors.Join(l.Err, fmt.Errorf("read load average: %w", err))
	}
	if memory, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		total, available := clamp(memory.Total), clamp(memory.Available)
		l.MemoryBytes, l.MemoryAvailableBytes = &total, &available
	} else {
		l.Err = errors.Join(l.Err, fmt.Errorf("read memory: %w", err))
	}
	return l
}

// parsePressure reads lines such as
//
//	some avg10=1.67 avg60=0.33 avg300=0.20 total=9759801
func parsePressure(text string) (Pressure, error) {
	var p Pressure
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		var s Stall
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			var err error
			switch key {
			case "avg10":
				s.Avg10, err = percentage(value)
			case "avg60":
				s.Avg60, err = percentage(value)
			case "avg300":
				s.Avg300, err = percentage(value)
			case "total":
				var micros int64
				micros, err = strconv.ParseInt(value, 10, 53)
				s.Total = time.Duration(micros) * time.Microsecond
			}
			if err != nil {
				return Pressure{}, fmt.Errorf("%s is no number", clean(field))
			}
		}
		switch fields[0] {
		case "some":
			p.Some = &s
		case "full":
			p.Full = &s
		}
	}
	if p.Some == nil {
		return Pressure{}, errors.New("no line of some")
	}
	return p, nil
}

func percentage(text string) (float64, error) {
	percent, err := strconv.ParseFloat(text, 64)
	if err == nil && !(percent >= 0 && percent <= 100) {
		err = strconv.ErrRange
	}
	return percent / 100, err
}
