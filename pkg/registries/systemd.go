package registries

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// unitDirs are where systemd looks for units and their drop-ins, the strongest first (systemd.unit(5)).
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// mostUnitFile bounds a unit, drop-in or environment file, in bytes.
const mostUnitFile = 256 << 10

// UnitsOf are the systemd units that a runtime may run as, by the socket it answers on.
func UnitsOf(runtime, endpoint string) []string {
	switch {
	case strings.Contains(endpoint, "/k3s/"):
		return []string{"k3s-agent.service", "k3s.service", "rke2-agent.service", "rke2-server.service"}
	case strings.Contains(endpoint, "/k0s"):
		return []string{"k0sworker.service", "k0scontroller.service"}
	case runtime == "cri-o":
		return []string{"crio.service"}
	}
	return []string{"containerd.service"}
}

// ProxyFromUnits reads the proxy out of the environment that systemd gives the one of the units that runs: its Environment= and
// EnvironmentFile= with all drop-ins. Where one of the files cannot be read, or none of the units is there, the proxy is not known: in a
// pod a file that is not mounted looks like one that does not exist. root is put before every path; it is empty but in tests.
func ProxyFromUnits(root string, units []string) Proxying {
	name, file, err := findRuntime(root, units)
	if err != nil {
		return Proxying{Source: err.Error()}
	}
	env, source, err := unitEnvironment(root, name, file)
	if err != nil {
		return Proxying{Source: fmt.Sprintf("%s: %v", name, err)}
	}
	if strings.HasPrefix(name, "k3s") || strings.HasPrefix(name, "rke2") {
		// Their containerd gets these without what they begin with, and gets them rather than others of that name (k3s, pkg/agent/containerd).
		for key, value := range maps.Clone(env) {
			if name, ok := strings.CutPrefix(key, forContainerd); ok {
				env[name] = value
			}
		}
	}
	return ProxyFromEnvironment(func(key string) string { return env[key] }, source)
}

// forContainerd begins the variables of k3s and RKE2 that are for their containerd alone.
const forContainerd = "CONTAINERD_"

var errNoUnit = errors.New("no such unit")

// findRuntime finds the one of the units that runs, by files alone: the one that is there. RKE2 brings each node that of a server and that of an agent;
// then it is the one that is enabled.
func findRuntime(root string, units []string) (name, file string, _ error) {
	files := make(map[string]string)
	var there, enabled []string
	for _, name := range units {
		file, err := findUnit(root, name)
		switch {
		case errors.Is(err, errNoUnit):
			continue
		case err != nil:
			return "", "", fmt.Errorf("%s: %w", name, err)
		}
		files[name] = file
		there = append(there, name)
		if _, err := os.Lstat(root + filepath.Join(unitDirs[0], "multi-user.target.wants", name)); err == nil {
			enabled = append(enabled, name)
		}
	}
	switch {
	case len(there) == 1:
		return there[0], files[there[0]], nil
	case len(enabled) == 1:
		return enabled[0], files[enabled[0]], nil
	case len(there) > 1:
		return "", "", fmt.Errorf("which of the units %s runs is not known", strings.Join(there, ", "))
	}
	return "", "", fmt.Errorf("no unit %s in %s, or the directory is not mounted", strings.Join(units, ", "), unitDirs[0])
}

// unitEnvironment is the environment of a unit in a file, and the file that names a proxy in it.
func unitEnvironment(root, name, file string) (env map[string]string, source string, _ error) {
	var dirs []string
	for _, of := range []string{"service.d", name + ".d"} { // for all services, and for this one
		for _, dir := range slices.Backward(unitDirs) {
			dirs = append(dirs, root+filepath.Join(dir, of))
		}
	}
	dropIns, err := findDropIns(dirs...)
	if err != nil {
		return nil, "", err
	}
	env = make(map[string]string)
	source = strings.TrimPrefix(file, root)
	var environmentFiles []string
	var unset []string
	manager, err := findDropIns(root + "/etc/systemd/system.conf.d")
	if err != nil {
		return nil, "", err
	}
	if path := root + "/etc/systemd/system.conf"; seen(path) {
		manager = append([]string{path}, manager...)
	}
	for _, path := range slices.Concat(manager, []string{file}, dropIns) {
		options, err := readUnit(path)
		if err != nil {
			return nil, "", err
		}
		for _, o := range options {
			switch o.Section + "." + o.Name {
			case "Manager.DefaultEnvironment", "Service.Environment":
				if strings.TrimSpace(o.Value) == "" {
					clear(env)
				}
				for key, value := range assignments(o.Value) {
					env[key] = value
					if proxyVariable(key) {
						source = strings.TrimPrefix(path, root)
					}
				}
			case "Service.EnvironmentFile":
				if o.Value = strings.Trim(strings.TrimSpace(o.Value), `"'`); o.Value == "" {
					environmentFiles = nil
					continue
				}
				path, err := expand(o.Value, name)
				if err != nil {
					return nil, "", err
				}
				environmentFiles = append(environmentFiles, path)
			case "Service.UnsetEnvironment":
				unset = append(unset, words(o.Value)...)
			}
		}
	}
	// What the files say overrides what the unit says (systemd.exec(5)).
	for _, pattern := range environmentFiles {
		paths, err := matching(root, pattern)
		if err != nil {
			return nil, "", err
		}
		for _, path := range paths {
			more, err := readEnvironmentFile(root, path)
			if err != nil {
				return nil, "", err
			}
			for key, value := range more {
				env[key] = value
				if proxyVariable(key) {
					source = strings.TrimPrefix(path, "-")
				}
			}
		}
	}
	for _, key := range unset {
		name, value, exact := strings.Cut(key, "=")
		if !exact || env[name] == value {
			delete(env, name)
		}
	}
	return env, source, nil
}

func proxyVariable(key string) bool {
	return slices.Contains([]string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}, strings.ToUpper(strings.TrimPrefix(key, forContainerd)))
}

func findUnit(root, name string) (string, error) {
	for _, dir := range unitDirs {
		path := root + filepath.Join(dir, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return "", errNoUnit
}

// findDropIns lists the drop-ins in directories of a name, in the order in which they take effect: by file name, and of one name only the
// last directory's.
func findDropIns(dirs ...string) ([]string, error) {
	chosen := make(map[string]string)
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, entry := range entries {
			if strings.HasSuffix(entry.Name(), ".conf") {
				chosen[entry.Name()] = filepath.Join(dir, entry.Name())
			}
		}
	}
	var paths []string
	for _, base := range slices.Sorted(maps.Keys(chosen)) {
		paths = append(paths, chosen[base])
	}
	return paths, nil
}

func readUnit(path string) ([]*unit.UnitOption, error) {
	text, err := readBounded(path, mostUnitFile)
	if err != nil {
		return nil, err
	}
	options, err := unit.DeserializeOptions(strings.NewReader(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return options, nil
}

// expand replaces the specifiers of systemd that name the unit (systemd.unit(5)), which is no instance of a template. What others stand for only the
// service manager knows.
func expand(text, unit string) (string, error) {
	bare := strings.TrimSuffix(unit, filepath.Ext(unit))
	var expanded strings.Builder
	for before, rest, more := strings.Cut(text, "%"); ; before, rest, more = strings.Cut(rest, "%") {
		expanded.WriteString(before)
		if !more {
			return expanded.String(), nil
		}
		var specifier byte
		if rest != "" {
			specifier, rest = rest[0], rest[1:]
		}
		switch specifier {
		case '%':
			expanded.WriteByte('%')
		case 'n':
			expanded.WriteString(unit)
		case 'N', 'p':
			expanded.WriteString(bare)
		default:
			return "", fmt.Errorf("EnvironmentFile=%s: a specifier that is not known here", text)
		}
	}
}

// matching lists the files that a path of EnvironmentFile= with wildcards means, in the order of the alphabet (glob(3)), each with the dash that the
// path has.
func matching(root, path string) ([]string, error) {
	pattern, optional := strings.CutPrefix(path, "-")
	wild := strings.IndexAny(pattern, "*?[")
	if wild < 0 {
		return []string{path}, nil
	}
	dir := filepath.Dir(pattern[:wild] + "x")
	if !dirInSight(root, dir) && !onHost(root) {
		return nil, fmt.Errorf("%s: %s is not to be seen: it does not exist, or is not mounted", pattern, dir)
	}
	if _, err := os.ReadDir(root + dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // which Glob would pass over
	}
	files, err := filepath.Glob(root + strings.ReplaceAll(pattern, "[!", "[^"))
	if err != nil {
		return nil, fmt.Errorf("EnvironmentFile=%s: %w", path, err)
	}
	var paths []string
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), ".") && !strings.HasPrefix(filepath.Base(pattern), ".") {
			continue // which no wildcard matches
		}
		file = strings.TrimPrefix(file, root)
		if optional {
			file = "-" + file
		}
		paths = append(paths, file)
	}
	if len(paths) == 0 && !optional {
		return nil, fmt.Errorf("%s: %w", pattern, fs.ErrNotExist)
	}
	slices.Sort(paths)
	return paths, nil
}

// readEnvironmentFile reads a file of EnvironmentFile=. A dash in front says that it need not exist; in a pod it is only known not to exist
// where its directory can be seen.
func readEnvironmentFile(root, path string) (map[string]string, error) {
	name, optional := strings.CutPrefix(path, "-")
	text, err := readBounded(root+name, mostUnitFile)
	if errors.Is(err, fs.ErrNotExist) && optional && (dirInSight(root, filepath.Dir(name)) || onHost(root)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	env := make(map[string]string)
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			env[strings.TrimSpace(key)] = strings.Join(words(value), " ")
		}
	}
	return env, nil
}

// dirInSight tells whether a directory of the host can be seen. /etc is in every pod, with little in it: the host's has an os-release.
func dirInSight(root, dir string) bool {
	if dir == "/etc" {
		dir = "/etc/os-release"
	}
	return seen(root + dir)
}

// onHost tells that this is no pod, so that what is not to be seen is not there: systemd's own mark of a system that it booted (sd_booted(3)), beside the
// host's os-release.
func onHost(root string) bool {
	return seen(root+"/run/systemd/system") && seen(root+"/etc/os-release")
}

func seen(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// assignments reads the value of Environment=: words, each an assignment, which may be quoted as a whole or in part.
func assignments(text string) map[string]string {
	all := make(map[string]string)
	for _, word := range words(text) {
		if key, value, ok := strings.Cut(word, "="); ok {
			all[key] = strings.ReplaceAll(value, "%%", "%") // a specifier of systemd's
		}
	}
	return all
}

// words splits as systemd does (systemd.syntax(7)): at blanks, with single and double quotes and backslashes.
func words(text string) (all []string) {
	var word strings.Builder
	var quote rune
	inside, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, inside = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inside = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if inside {
				all = append(all, word.String())
				word.Reset()
			}
			inside = false
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if inside {
		all = append(all, word.String())
	}
	return all
}
