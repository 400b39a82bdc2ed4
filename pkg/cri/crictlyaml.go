package cri

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"sigs.k8s.io/yaml"
)

// DefaultConfigFile is where crictl looks for its settings.
const DefaultConfigFile = "/etc/crictl.yaml"

// maxConfigFile bounds what is read of a settings file, in bytes. A full one
// has eight lines.
const maxConfigFile = 64 << 10

// File holds the settings of a crictl.yaml. Zero values stand for keys that
// are absent.
type File struct {
	RuntimeEndpoint string
	ImageEndpoint   string
	// Timeout of one call. The file counts whole seconds.
	Timeout           time.Duration
	Debug             bool
	PullImageOnCreate bool
	DisablePullOnRun  bool
}

// readFile reads and checks a crictl.yaml. Its errors begin with the file's
// name. A missing file is an error that is fs.ErrNotExist.
func readFile(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxConfigFile {
		return File{}, fmt.Errorf("%s: larger than %d bytes, this is no crictl configuration", name, maxConfigFile)
	}
	file, err := parseFile(data)
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

// parseFile takes the keys that crictl takes, and no others: a misspelt key
// that is ignored would send the agent to another socket without a word.
func parseFile(data []byte) (File, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return File{}, nil
	}
	var keys map[string]any
	if err := yaml.UnmarshalStrict(data, &keys); err != nil {
		return File{}, fmt.Errorf("not a YAML mapping: %w", err)
	}
	var file File
	for key, value := range keys {
		var err error
		switch key {
		case "runtime-endpoint":
			file.RuntimeEndpoint, err = toString(value)
		case "image-endpoint":
			file.ImageEndpoint, err = toString(value)
		case "timeout":
			file.Timeout, err = toSeconds(value)
		case "debug":
			file.Debug, err = toBool(value)
		case "pull-image-on-create":
			file.PullImageOnCreate, err = toBool(value)
		case "disable-pull-on-run":
			file.DisablePullOnRun, err = toBool(value)
		case "max-retries":
			// Later versions of crictl know this key and the next. They say
			// nothing to us, and a file with them is a good file.
			_, err = toSeconds(value)
		case "enable-streaming":
			_, err = toBool(value)
		default:
			return File{}, fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return File{}, fmt.Errorf("key %q: %w", key, err)
		}
	}
	return file, nil
}

func toString(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", fmt.Errorf("want a text, not %v", v)
}

// toBool takes quoted words too, as crictl does.
func toBool(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b, nil
		}
	}
	return false, fmt.Errorf("want true or false, not %v", v)
}

func toSeconds(v any) (time.Duration, error) {
	// A day, in seconds, is more than anyone waits for an answer, and keeps
	// the product far from an overflow.
	const most = 24 * 60 * 60
	n := -1.0
	switch v := v.(type) {
	case float64:
		n = v
	case string:
		if i, err := strconv.Atoi(v); err == nil {
			n = float64(i)
		}
	}
	if n != float64(int(n)) || n < 0 || n > most {
		return 0, fmt.Errorf("want a whole number from 0 to %d, not %v", most, v)
	}
	return time.Duration(n) * time.Second, nil
}
