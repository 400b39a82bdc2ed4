package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// sboms are one bill of materials for each program, in CycloneDX's JSON: which modules are in it, as the go command wrote it into the program
// itself. It has no serial number, which would have to be random, and no licences, which a program does not tell.
func (r *Release) sboms() (files []file, err error) {
	for _, p := range r.Programs {
		var buf bytes.Buffer
		bom, err := r.sbom(p)
		if err != nil {
			return nil, fmt.Errorf("bill of materials for %s: %w", p.Platform, err)
		}
		if err := cdx.NewBOMEncoder(&buf, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
			return nil, err
		}
		files = append(files, file{r.stem(p.Platform) + ".cdx.json", buf.Bytes()})
	}
	return files, nil
}

func (r *Release) sbom(p Program) (*cdx.BOM, error) {
	program := cdx.Component{
		BOMRef: Name, Type: cdx.ComponentTypeApplication, Name: p.Info.Main.Path, Version: r.Version, PackageURL: purl(p.Info.Main.Path, r.Version),
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fmt.Sprintf("%x", sha256.Sum256(p.Content))}},
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
		Properties: &[]cdx.Property{
			{Name: "pullwatch:revision", Value: r.Revision}, {Name: "pullwatch:platform", Value: p.Platform.String()}, {Name: "pullwatch:go", Value: p.Info.GoVersion},
		},
	}
	// The standard library has its own line, since most reports of vulnerabilities of a Go program are about it.
	version := strings.TrimPrefix(strings.Fields(p.Info.GoVersion)[0], "go")
	std := cdx.Component{BOMRef: "std", Type: cdx.ComponentTypeLibrary, Name: "std", Version: version, PackageURL: purl("std", version)}
	components, refs := []cdx.Component{std}, []string{std.BOMRef}
	for _, m := range p.Info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c, err := component(m)
		if err != nil {
			return nil, err
		}
		components, refs = append(components, c), append(refs, c.BOMRef)
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: r.Time.UTC().Format(time.RFC3339), Component: &program}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	return bom, nil
}

// component is one module. Its hash is the one of go.sum: the SHA-256 of the list of the module's files and theirs.
func component(m *debug.Module) (cdx.Component, error) {
	text, ok := strings.CutPrefix(m.Sum, "h1:")
	sum, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size {
		return cdx.Component{}, fmt.Errorf("%s %s has the checksum %q: a module from a directory cannot be named", m.Path, m.Version, m.Sum)
	}
	ref := purl(m.Path, m.Version)
	return cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: ref, Scope: cdx.ScopeRequired,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}},
	}, nil
}

// purl is the package URL of a Go module. The path's slashes part its namespace; in a version, + is escaped.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
}
