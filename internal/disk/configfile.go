package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// What is read of the kubelet's configuration: those in use have a few kilobytes, and fewer than ten drop-ins.
const (
	mostConfigBytes = 1 << 20
	mostDropIns     = 100
)

// configAPI is the only version of a KubeletConfiguration that there is.
const configAPI = "kubelet.config.k8s.io/v1beta1"

// ConfigError is a kubelet's configuration file that could not be read, or that the kubelet would not start with.
type ConfigError struct {
	File string
	Line int // 0 is not known
	Err  error
}

func (e *ConfigError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("kubelet configuration %s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("kubelet configuration %s: %v", e.File, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *ConfigError) Hint() string {
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		return "Name the file that the kubelet is started with (--config), and mount its directory into the agent's pod, read-only."
	case errors.Is(e.Err, fs.ErrPermission):
		return "The file is for root alone: let the agent read /configz of the kubelet instead (nodes/configz)."
	}
	return "Correct the file: the kubelet does not start with it."
}

// ReadFiles reads the settings from the kubelet's configuration file and the directory of its drop-ins, either of which may be empty, as the
// kubelet does on its next start (cmd/kubelet/app/server.go: loadConfigFile, mergeKubeletConfigurations). With an error the settings have
// nothing but findings.
//
// Two rules surprise: where the main file sets no evictionHard, the defaults stand in for it before drop-ins are merged, so that a drop-in
// with one signal keeps the others; and mergeDefaultEvictionSettings counts in the main file alone.
func ReadFiles(file, dropIns, version string) (Settings, error) {
	l := loader{version: version, sources: make(map[string]Source), texts: make(map[string][]byte)}
	merged := make(map[string]any)
	if file != "" {
		main, err := l.read(file, true)
		if err != nil {
			return l.refused(err)
		}
		merged = main
		l.claim(main, file)
		// It is decoded by itself, before anything may take the place of what is wrong with it.
		if _, err := decode(main); err != nil {
			return l.refused(l.typeError(err))
		}
		for _, field := range ages {
			if value, set := main[field]; set && value == nil {
				return l.refused(&ConfigError{file, l.line(file, field), fmt.Errorf("%s is null, which is no duration", field)})
			}
		}
		l.defaultHard(merged)
	}
	names, err := listDropIns(dropIns)
	if err != nil {
		return l.refused(err)
	}
	if dropIns != "" {
		// The main configuration is written anew before the first drop-in, and an empty map is not written.
		for _, field := range evictionFields {
			if m, ok := merged[field].(map[string]any); ok && len(m) == 0 {
				delete(merged, field)
			}
		}
	}
	for _, name := range names {
		patch, err := l.read(name, false)
		if err != nil {
			return l.refused(err)
		}
		merged = mergePatch(merged, patch).(map[string]any)
		l.claim(patch, name)
	}
	doc, err := decode(merged)
	if err != nil {
		return l.refused(l.typeError(err))
	}
	settings, problems := doc.settings(version, func(path string) Source { return l.sources[path] })
	for _, p := range problems {
		l.invalid(p)
	}
	settings.Findings = l.findings
	if len(problems) > 0 {
		at := l.at(problems[0].path)
		return l.refused(&ConfigError{at.File, l.line(at.File, problems[0].path), fmt.Errorf("%s: %s: %w", problems[0].path, problems[0].text, errRefused)})
	}
	return settings, nil
}

var ages = []string{"imageMinimumGCAge", "imageMaximumGCAge"}

var evictionFields = []string{"evictionHard", "evictionSoft", "evictionSoftGracePeriod", "evictionMinimumReclaim"}

// loader reads files and remembers where each setting stands.
type loader struct {
	version  string
	sources  map[string]Source // by path: imageGCHighThresholdPercent, evictionHard/imagefs.available
	texts    map[string][]byte
	findings []Finding
	last     string // the file that was read last
}

// refused is the answer where the files say nothing.
func (l *loader) refused(err error) (Settings, error) {
	var with *ConfigError
	if errors.As(err, &with) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errRefused) {
		l.findings = append(l.findings, Finding{Code: ConfigRefused, Text: err.Error(), Do: with.Hint()})
	}
	return Settings{Findings: l.findings, Version: l.version}, err
}

// read reads one file, and notes fields that no kubelet knows. The kubelet decodes the main file strictly, logs what it does not know and
// goes on without; it never looks at those of a drop-in.
func (l *loader) read(file string, main bool) (map[string]any, error) {
	text, err := readBounded(file, mostConfigBytes)
	if err != nil {
		return nil, &ConfigError{File: file, Err: err}
	}
	l.texts[file], l.last = text, file
	toJSON := yaml.YAMLToJSON // of a field that is there twice the last counts
	if !main {
		toJSON = yaml.YAMLToJSONStrict // it is refused
	}
	asJSON, err := toJSON(text)
	if err != nil {
		return nil, &ConfigError{file, lineOf(err), fmt.Errorf("not YAML or JSON: %w", bounded(err))}
	}
	var fields map[string]any
	if err := json.Unmarshal(asJSON, &fields); err != nil || fields == nil {
		return nil, &ConfigError{file, 0, errors.New("not a KubeletConfiguration")}
	}
	api, _ := fields["apiVersion"].(string)
	kind, _ := fields["kind"].(string)
	if api != configAPI || kind != "KubeletConfiguration" {
		return nil, &ConfigError{file, l.line(file, "apiVersion"), fmt.Errorf("apiVersion and kind are not %s KubeletConfiguration", configAPI)}
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if !knownField(field, l.version) {
			l.unknown(file, field, main)
		}
	}
	return fields, nil
}

// claim notes which file sets what.
func (l *loader) claim(fields map[string]any, file string) {
	for name, value := range fields {
		l.sources[name] = Source{From: FromFile, File: file}
		if inner, ok := value.(map[string]any); ok {
			for key := range inner {
				l.sources[name+"/"+key] = Source{From: FromFile, File: file}
			}
		}
	}
}

// defaultHard gives the main configuration the kubelet's default thresholds where they apply.
func (l *loader) defaultHard(main map[string]any) {
	hard, _ := main["evictionHard"].(map[string]any)
	merge, _ := main["mergeDefaultEvictionSettings"].(bool)
	if minor, ok := minorOf(l.version); ok && minor < 33 {
		merge = false // it knows no such field
	}
	if hard != nil && !merge {
		return
	}
	filled := make(map[string]any)
	for signal, amount := range defaultEvictionHard(l.version) {
		filled[signal] = amount
		l.sources["evictionHard/"+signal] = Source{From: FromDefault}
	}
	for signal, amount := range hard {
		filled[signal] = amount
		l.sources["evictionHard/"+signal] = l.sources["evictionHard"]
	}
	main["evictionHard"] = filled
}

// at is where a path stands: itself, or what holds it.
func (l *loader) at(path string) Source {
	if s, ok := l.sources[path]; ok {
		return s
	}
	outer, _, _ := strings.Cut(path, "/")
	if s, ok := l.sources[outer]; ok {
		return s
	}
	return Source{From: FromFile, File: l.last}
}

// typeError names the file of a field of the wrong type.
func (l *loader) typeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return &ConfigError{l.last, 0, bounded(err)}
	}
	path := strings.Replace(wrong.Field, ".", "/", 1)
	file := l.at(path).File
	return &ConfigError{file, l.line(file, path), fmt.Errorf("%s is of type %s, not %s", clean(path), wrong.Value, wrong.Type)}
}

func (l *loader) invalid(p problem) {
	file := l.at(p.path).File
	e := ConfigError{file, l.line(file, p.path), fmt.Errorf("%s: %s", p.path, p.text)}
	code := ConfigRefused
	if p.lowNotBelowHigh {
		code = LowNotBelowHigh
	}
	l.findings = append(l.findings, Finding{
		Code: code, Text: e.Error() + ": the kubelet does not start with it, and goes on with what it has until it is restarted.", Do: "Correct " + file + ".",
	})
}

func (l *loader) unknown(file, field string, main bool) {
	does := "the kubelet logs that and goes on without it"
	if !main {
		does = "the kubelet goes on without it and does not say so"
	}
	e := ConfigError{file, l.line(file, field), fmt.Errorf("no field %s is known: %s", clean(field), does)}
	do := "Correct or remove it."
	if meant := similarField(field); meant != "" {
		do = "Write " + meant + "."
	}
	l.findings = append(l.findings, Finding{Code: ConfigUnknownField, Text: e.Error(), Do: do})
}

// line finds the line of a field by its name; 0 where it is not there.
func (l *loader) line(file, path string) int {
	name := path[strings.LastIndex(path, "/")+1:]
	pattern, err := regexp.Compile(`(?m)(?:^|[{,\s])["']?` + regexp.QuoteMeta(name) + `["']?\s*:`)
	if err != nil {
		return 0
	}
	at := pattern.FindIndex(l.texts[file])
	if at == nil {
		return 0
	}
	return 1 + strings.Count(strings.TrimRight(string(l.texts[file][:at[1]]), "\n"), "\n")
}

// decode takes the fields that are read, by their exact names: the kubelet's decoder knows upper case from lower.
func decode(fields map[string]any) (*document, error) {
	wanted := make(map[string]any)
	for _, name := range append([]string{
		"imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "imageMinimumGCAge", "imageMaximumGCAge", "mergeDefaultEvictionSettings", "featureGates",
	}, evictionFields...) {
		if value, ok := fields[name]; ok {
			wanted[name] = value
		}
	}
	text, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	var doc document
	return &doc, json.Unmarshal(text, &doc)
}

// mergePatch is JSON merge patch (RFC 7396).
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := make(map[string]any)
	if old, ok := target.(map[string]any); ok {
		maps.Copy(merged, old)
	}
	for key, value := range changes {
		if value == nil {
			delete(merged, key)
			continue
		}
		merged[key] = mergePatch(merged[key], value)
	}
	return merged
}

// listDropIns lists the drop-ins below a directory in the order in which the kubelet merges them: that of filepath.WalkDir.
func listDropIns(dir string) (names []string, err error) {
	if dir == "" {
		return nil, nil
	}
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() && filepath.Ext(entry.Name()) == ".conf" {
			names = append(names, name)
		}
		if len(names) > mostDropIns {
			return fmt.Errorf("more than %d drop-ins", mostDropIns)
		}
		return nil
	})
	if err != nil {
		return nil, &ConfigError{File: dir, Err: err}
	}
	return names, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func lineOf(err error) int {
	if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
		line, _ := strconv.Atoi(found[1])
		return line
	}
	return 0
}

// bounded is an error as short as a message may be. What a parser says may quote the file.
func bounded(err error) error { return errors.New(clean(err.Error())) }
