package keyring

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pullwatch/pullwatch/pkg/cause"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// TestCovers: which names of entries are for which repositories, by the kubelet's rules.
func TestCovers(t *testing.T) {
	const image = "registry.example.com/shop/cart:2.3"
	for _, tc := range []struct {
		name, image string
		want        bool
	}{
		{"registry.example.com", image, true},
		{"https://registry.example.com", image, true},
		{"http://registry.example.com", image, true},
		{"https://registry.example.com/", image, true},
		{"https://registry.example.com/v1/", image, true},
		{"https://registry.example.com/v2/", image, true},
		{"registry.example.com/v2", image, false}, // a path of that name
		{"user:secret@registry.example.com", image, true},
		{"registry.example.com?x=y", image, true},
		{"Registry.example.com", image, false},
		{"example.com", image, false},
		{"cart", image, false},
		{"", image, false},
		{"ftp://registry.example.com", image, false},
		{"registry.example.com ", image, false},

		{"*.example.com", image, true},
		{"registry.*.com", image, true},
		{"reg*.ex*.co*", image, true},
		{"*.*.*", image, true},
		{"*", image, false},
		{"*.com", image, false}, // as many labels
		{"*.registry.example.com", image, false},
		{"*.example.com", "registry.example.com:5000/shop/cart", false},
		{"*.example.com:5000", "registry.example.com:5000/shop/cart", true},
		{"registry.example.com:*", "registry.example.com:5000/shop/cart", false},
		{"registry.example.com:443", image, false},
		{"*", "localhost/x", true},

		{"registry.example.com/shop", image, true},
		{"registry.example.com/shop/cart", image, true},
		{"registry.example.com/sho", image, true}, // in the midst of a name
		{"registry.example.com/v2/shop", image, true},
		{"registry.example.com/shop/", image, true},
		{"registry.example.com/shop/cart/", image, false},
		{"registry.example.com/shop/cart:2.3", image, false},
		{"registry.example.com/pay", image, false},
		{"registry.example.com/*", image, false},

		{"https://index.docker.io/v1/", "nginx", true},
		{"https://index.docker.io/v1/", "docker.io/library/nginx:1", true},
		{"https://index.docker.io/v1/", "index.docker.io/library/nginx:1", true},
		{"https://index.docker.io/v2/", "shop/cart", true},
		{"index.docker.io", "shop/cart", true},
		{"index.docker.io", "localhost/shop/cart", true},
		{"docker.io", "nginx", true},
		{"docker.io/library", "nginx", true},
		{"docker.io/shop", "nginx", false},
		{"https://index.docker.io/v1/", image, false},
		{"https://index.docker.io/v1", "nginx", false},
		{"index.docker.io/library", "nginx", false},
		{"https://registry-1.docker.io", "nginx", false},
		{"https://hub.docker.com", "nginx", false},

		{"127.0.0.1:5000", "127.0.0.1:5000/x", true},
		{"[2001:db8::1]:5000", "[2001:db8::1]:5000/x", true},
		{"[2001:db8::2]:5000", "[2001:db8::1]:5000/x", false},
	} {
		content, _ := json.Marshal(map[string]any{tc.name: map[string]string{"username": "u", "password": "p"}})
		f := Find(dockerConfig, content, tc.image)
		if got := len(f.Logins) == 1; got != tc.want || got == (f.Fault == NoEntry) {
			t.Errorf("%q for %s: %v (%s), want %v", tc.name, tc.image, got, f.Fault, tc.want)
		}
	}
}

func TestFind(t *testing.T) {
	const image = "registry.example.com/shop/cart:2.3"
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	auths := func(entries string) string { return `{"auths":{` + entries + `}}` }
	for name, tc := range map[string]struct {
		kind, content, image string
		logins               string
		fault                Result
		hosts                string
	}{
		"user and password":     {content: auths(`"registry.example.com":{"username":"bob","password":"secret"}`), logins: "bob/secret"},
		"auth":                  {content: auths(`"registry.example.com":{"auth":"` + b64("bob:sec:ret") + `"}`), logins: "bob/sec:ret"},
		"auth without a pad":    {content: auths(`"registry.example.com":{"auth":"` + strings.TrimRight(b64("bob:secret"), "=") + `"}`), logins: "bob/secret"},
		"auth outranks":         {content: auths(`"registry.example.com":{"username":"a","password":"b","auth":"` + b64("bob:secret") + `"}`), logins: "bob/secret"},
		"the older type":        {kind: dockerConfig, content: `{"registry.example.com":{"username":"bob","password":"secret"}}`, logins: "bob/secret"},
		"other case":            {content: `{"AUTHS":{"registry.example.com":{"UserName":"bob","PASSWORD":"secret"}}}`, logins: "bob/secret"},
		"more beside":           {content: `{"credsStore":"x","HttpHeaders":{"a":"b"},"auths":{"registry.example.com":{"username":"bob","password":"secret","x":[{}]}}}`, logins: "bob/secret"},
		"the last of two":       {content: auths(`"registry.example.com":{"username":"a","password":"b"},"registry.example.com":{"username":"bob","password":"secret"}`), logins: "bob/secret"},
		"the most specific":     {content: auths(`"registry.example.com":{"username":"a","password":"a"},"registry.example.com/shop":{"username":"b","password":"b"},"*.example.com":{"username":"c","password":"c"},"registry.example.com/shop/cart":{"username":"d","password":"d"}`), logins: "d/d b/b a/a"},
		"two to one place":      {content: auths(`"https://registry.example.com":{"username":"b","password":"b"},"http://registry.example.com":{"username":"a","password":"a"}`), logins: "a/a b/b"},
		"Docker Hub's, last":    {content: auths(`"https://index.docker.io/v1/":{"username":"a","password":"a"},"docker.io":{"username":"b","password":"b"}`), image: "nginx", logins: "b/b"},
		"no entry":              {content: auths(`"ghcr.io":{"username":"bob","password":"secret"},"https://index.docker.io/v1/":{}`), fault: NoEntry, hosts: "ghcr.io index.docker.io"},
		"another path":          {content: auths(`"registry.example.com/pay":{"username":"bob","password":"secret"}`), fault: NoEntry, hosts: "registry.example.com"},
		"hosts alone":           {content: auths(`"https://bob:secret@ghcr.io/secret?secret#secret":{},"hunter2":{},"a b.c":{},"x.y\u202e":{},"localhost":{},"` + strings.Repeat("x", 300) + `.io":{}`), fault: NoEntry, hosts: "ghcr.io localhost"},
		"empty":                 {content: `{"auths":{}}`, fault: NoEntry},
		"none at all":           {content: `{}`, fault: NoEntry},
		"null":                  {content: `{"auths":null}`, fault: NoEntry},
		"null at all":           {content: `null`, fault: NoEntry},
		"an entry that's null":  {content: auths(`"registry.example.com":null`), fault: NoPassword},
		"the older type's form": {content: `{"registry.example.com":{"username":"bob","password":"secret"}}`, fault: NoEntry},
		"the newer type's form": {kind: dockerConfig, content: auths(`"registry.example.com":{"username":"bob","password":"secret"}`), fault: NoEntry},
		"an identity token":     {content: auths(`"registry.example.com":{"auth":"` + b64("bob:") + `","identitytoken":"secret"}`), fault: NoPassword},
		"no user":               {content: auths(`"registry.example.com":{"password":"secret"}`), fault: NoPassword},
		"one of two has none":   {content: auths(`"registry.example.com/shop":{},"registry.example.com":{"username":"bob","password":"secret"}`), logins: "bob/secret"},
		"another type":          {kind: "Opaque", content: auths(`"registry.example.com":{"username":"bob","password":"secret"}`), fault: WrongType},
		"no content":            {fault: WrongType},

		"no JSON":            {content: `registry.example.com: bob`, fault: Malformed},
		"cut short":          {content: `{"auths":{"registry.example.com":{"username":"bob","password":"secret"}`, fault: Malformed},
		"more behind":        {content: auths(``) + `x`, fault: Malformed},
		"two of them":        {content: auths(``) + auths(``), fault: Malformed},
		"a list":             {content: `[]`, fault: Malformed},
		"a list below":       {content: `{"auths":[]}`, fault: Malformed},
		"a text":             {content: `"auths"`, fault: Malformed},
		"a text for a login": {content: auths(`"registry.example.com":"secret"`), fault: Malformed},
		"a number":           {content: auths(`"registry.example.com":{"username":1,"password":"secret"}`), fault: Malformed},
		"another's number":   {content: auths(`"registry.example.com":{"username":"bob","password":"secret"},"ghcr.io":{"password":1}`), fault: Malformed},
		"another's auth":     {content: auths(`"registry.example.com":{"username":"bob","password":"secret"},"ghcr.io":{"auth":"secret"}`), fault: Malformed},
		"no base64":          {content: auths(`"registry.example.com":{"auth":"!"}`), fault: Malformed},
		"no colon":           {content: auths(`"registry.example.com":{"auth":"` + b64("secret") + `"}`), fault: Malformed},
		"a BOM":              {content: "\ufeff{}", fault: Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.kind == "" {
				tc.kind = dockerConfigJSON
			}
			if tc.image == "" {
				tc.image = image
			}
			f := Find(tc.kind, []byte(tc.content), tc.image)
			var logins []string
			for _, l := range f.Logins {
				logins = append(logins, l.Username+"/"+l.Password)
			}
			if got := strings.Join(logins, " "); got != tc.logins || f.Fault != tc.fault || strings.Join(f.Hosts, " ") != tc.hosts {
				t.Errorf("got %q, %q, %q; want %q, %q, %q", got, f.Fault, f.Hosts, tc.logins, tc.fault, tc.hosts)
			}
		})
	}
}

// TestHostile: what somebody fills a secret with costs no more than its size, and shows as nothing but hosts.
func TestHostile(t *testing.T) {
	const size = 1 << 20
	fill := func(before, each, after string) []byte {
		var b strings.Builder
		b.WriteString(before)
		for i := 0; b.Len() < size-len(each)-len(after)-20; i++ {
			if strings.Contains(each, "%d") {
				fmt.Fprintf(&b, each, i)
			} else {
				b.WriteString(each)
			}
		}
		return []byte(b.String() + after)
	}
	for name, tc := range map[string]struct {
		content []byte
		logins  int
		fault   Result
	}{
		"many entries":           {fill(`{"auths":{`, `"h%d.io":{},`, `"z":{}}}`), 0, NoEntry},
		"many that match":        {fill(`{"auths":{`, `"http://registry.example.com?%d":{"username":"u","password":"p"},`, `"z":{}}}`), mostLogins, ""},
		"many of one name":       {fill(`{"auths":{`, `"registry.example.com":{"username":"u","password":"p"},`, `"z":{}}}`), 1, ""},
		"a long name":            {fill(`{"auths":{"`, `registry.example.com.`, `":{}}}`), 0, NoEntry},
		"a long password":        {fill(`{"auths":{"registry.example.com":{"username":"u","password":"`, `secret`, `"}}}`), 0, NotKnown},
		"nested":                 {fill(`{"auths":{"registry.example.com":`, `[`, ``), 0, Malformed},
		"nested beside":          {fill(`{"x":`, `{"x":`, ``), 0, Malformed},
		"many members beside":    {fill(`{`, `"%d":0,`, `"auths":{"registry.example.com":{"username":"u","password":"p"}}}`), 1, ""},
		"many labels":            {fill(`{"auths":{"`, `*.`, `io":{}}}`), 0, NoEntry},
		"many stars":             {append(fill(`{"auths":{"`, `*`, ``), `x.example.com":{}}}`...), 0, NoEntry},
		"many of auths":          {fill(`{`, `"auths":{"registry.example.com":{"username":"u","password":"p"}},`, `"auths":{}}`), 1, ""},
		"what is no text":        {slices.Repeat([]byte{0xff}, size), 0, Malformed},
		"many zeros":             {make([]byte, size), 0, Malformed},
		"a name that is no text": {append(fill(`{"auths":{"`, "\xff", ``), `.io":{}}}`...), 0, NoEntry},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			f := Find(dockerConfigJSON, tc.content, "registry.example.com/shop/cart:2.3")
			runtime.GC()
			runtime.ReadMemStats(&after)
			if len(f.Logins) != tc.logins || f.Fault != tc.fault || len(f.Hosts) > MostHosts {
				t.Errorf("%d logins, %q, %d hosts", len(f.Logins), f.Fault, len(f.Hosts))
			}
			for _, h := range f.Hosts {
				if len(h) > longestHost {
					t.Errorf("a host of %d bytes", len(h))
				}
			}
			if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 3*size {
				t.Errorf("%d bytes are kept", kept)
			}
		})
	}
}

func TestAsked(t *testing.T) {
	yes, no := true, false
	image := func(ok *bool, c cause.Cause, sent bool) *probe.Image {
		return &probe.Image{OK: ok, Cause: c, LoginSent: sent, Error: "PLANTED", RateLimit: &probe.RateLimit{Source: "x"}}
	}
	for _, tc := range []struct {
		image *probe.Image
		want  Result
	}{
		{image(&yes, cause.None, true), Accepted},
		{image(&no, cause.Unauthorized, true), Refused},
		{image(&no, cause.AccessDenied, true), Refused},
		{image(&no, cause.NotFound, true), NoImage},
		{image(&no, cause.RateLimited, true), NotKnown},
		{image(&no, cause.RegistryError, true), NotKnown},
		{image(&no, cause.Connection, true), NotKnown},
		{image(nil, cause.None, true), NotKnown},
		{image(&yes, cause.None, false), NotAsked},
		{image(&no, cause.Unauthorized, false), NotAsked},
		{image(&no, cause.AccessDenied, false), NotAsked},
		{image(&no, cause.NotFound, false), NotAsked},
		{image(&no, cause.DNS, false), NotKnown},
		{image(nil, cause.None, false), NotKnown},
	} {
		o := Outcome{Error: "of before", Hosts: nil}
		o.Asked(tc.image)
		if o.Result != tc.want || o.Cause != tc.image.Cause || tc.image.LoginSent == (o.Error != "") || tc.image.LoginSent != (o.RateLimit != nil) {
			t.Errorf("%+v: %+v, want %s", tc.image, o, tc.want)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(true, `{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}`, "nginx")
	f.Add(false, `{"*.example.com:5000/x":{"username":"a","password":"b"}}`, "registry.example.com:5000/x/y:1")
	f.Add(true, `{"auths":{"a.b":{"username":"","password":"b"}}}`, "a.b/c")
	f.Fuzz(func(t *testing.T, older bool, content, image string) {
		kind := dockerConfigJSON
		if older {
			kind = dockerConfig
		}
		found := Find(kind, []byte(content), image)
		if (found.Fault == "") != (len(found.Logins) > 0) || len(found.Logins) > mostLogins || len(found.Hosts) > MostHosts || found.Hosts != nil && found.Fault != NoEntry {
			t.Errorf("%d logins, %q, hosts %q", len(found.Logins), found.Fault, found.Hosts)
		}
		for _, h := range found.Hosts {
			if !plausible(h) {
				t.Errorf("host %q", h)
			}
		}
		for _, l := range found.Logins {
			if l.Username == "" || l.Password == "" {
				t.Error("a login that is none")
			}
		}
	})
}
