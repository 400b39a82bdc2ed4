package asked

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Case is one configuration and what containerd was seen to ask with it. In its texts {o} is the address of listener o, {o.port} its port, {ip} three
// bytes of a loopback address, {dir} the node's directory and {ca} the file of the CA that signs the certificates of listeners.
type Case struct {
	Topic string
	Name  string // unique; in its short form the repository of the image
	// Setup is put in place of the line that sets config_path, and what stands in it above a line --- on top of the file; Inline is added below.
	// {registry} is the name of the version's table with the registry settings. Cases with the same Setup share a containerd.
	Setup, Inline string
	Files         map[string]string // name below {dir}/certs.d -> content, or "copy FILE" of {dir}/pki; /etc/containerd is the test's own
	Image         string            // the registry's part of the reference
	Digest        bool              // by digest, not by tag
	Layers        int               // of the image; default 1
	Listen        map[string]string // listener -> what it does, see behaviour
	Names         map[string]string // host:port -> listener: names that exist behind the proxy alone
	Login         bool              // pulled with credentials, as with an imagePullSecret
	Show          []string          // what else is told of each request: header names, SNI, client
	Limit         time.Duration     // after which the pull is given up
	Slow          bool              // takes longer than 20 s with one of the versions

	// Asked is what is asked, as sequence tells it; then a line "fails: " with the error where the pull fails, and one with the time where it is
	// slow. Where they differ, Asked16 is Debian's containerd 1.6, Asked24 is 2.4, and Local24 2.4 with use_local_image_pull.
	Asked, Asked16, Asked24, Local24 string
	Note                             string
}

var other = regexp.MustCompile("[^a-z0-9]+")

// slug is the name as it can stand in a reference.
func (c Case) slug() string {
	return strings.Trim(other.ReplaceAllString(strings.ToLower(c.Name), "-"), "-")
}

// Cases are all of them, topic by topic.
func Cases() []Case {
	return slices.Concat(defaults, directories, files, order, answers, logins, security, inline, slow)
}
