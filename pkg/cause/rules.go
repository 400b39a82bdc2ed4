package cause

import (
	"slices"
	"strings"
)

// rule is a phrase that names a mechanism, in lower case, and what it says.
type rule struct {
	phrase string
	cause  Cause
	weight weight
	// look, where there is one, looks around the phrase and takes the place of cause and weight. It may note what the phrase says
	// of the rest of the attempt.
	look   look
	spaced bool // more than one word, which no name can be
}

// phrasesBy is the rules by their first byte, the longest first.
var phrasesBy = func() (by [256][]*rule) {
	for _, group := range groups {
		for _, phrase := range strings.Split(strings.TrimSpace(group.phrases), "\n") {
			phrase = strings.TrimSpace(phrase)
			r := &rule{phrase, group.cause, group.weight, group.look, strings.Contains(phrase, " ")}
			by[phrase[0]] = append(by[phrase[0]], r)
		}
	}
	for _, rules := range by {
		slices.SortStableFunc(rules, func(a, b *rule) int { return len(b.phrase) - len(a.phrase) })
	}
	return by
}()

// groups is the table of phrases, one a line. A phrase names a mechanism in the words of Go's libraries, of containerd, containers/image,
// the Docker engine and the registries; none is a whole sentence of one program where a part of it will do.
var groups = []struct {
	cause   Cause
	weight  weight
	look    look
	phrases string
}{
	{InvalidReference, certain, lookNowhere, `
		invalid reference
		couldn't parse image
		could not parse image
		failed to parse image
		cannot parse input
		invalid image name
		must be lowercase
		must be lower case
		repository name must
		repository name component must
		invalid repository name
		invalid tag format
		invalid tag name
		tag_invalid
		unsupported digest algorithm
		invalid checksum digest
		short-name
		short name mode
		no unqualified-search registries
		unqualified-search-registries
		`},

	{InvalidReference, certain, lookAbout, `
		invalidimagename
		`},
	{InvalidReference, answer, lookNowhere, `
		name_invalid
		name invalid
		`},
	{NotFound, answer, lookNowhere, `
		manifest unknown
		manifest_unknown
		name unknown
		name_unknown
		blob unknown
		unknown blob
		blob_unknown
		repository name not known
		does not exist in the registry
		content at
		no such manifest
		manifest not found
		tag does not exist
		image does not exist
		tag was deleted or has expired
		unknown manifest
		`},
	{NotFound, answer, lookNotFound, `
		not found
		`},
	{NotFound, grpcCode, lookNowhere, `
		no such image
		code = notfound
		`},

	{PlatformMismatch, certain, lookNowhere, `
		no match for platform
		no matching manifest for
		no image found in manifest list
		no image found in image index
		no manifest found for platform
		no child with platform
		no matching platform
		cannot be used on this platform
		does not match the specified platform
		does not match the host operating system
		image is incompatible with a
		`},

	{UnsupportedFormat, certain, lookNowhere, `
		schema 1
		schema1
		schema version 1
		unsupported media type
		unsupported mediatype
		unknown media type
		unexpected media type
		unsupported manifest media type
		unsupported manifest type
		unsupported docker v2s2 media type
		unsupported image-specific operation
		unsupported schema version
		unsupported compression
		unimplemented: media type
		invalid tar header
		gzip: invalid header
		encountered unknown type
		no processor for media-type
		no processor for media type
		not a container image
		unable to parse manifest
		unsupported image format
		no layers
		manifest invalid
		manifest_invalid
		unrecognized image format
		unknown compression
		`},
	{UnsupportedFormat, certain, lookMediaType, `
		media type
		mediatype
		application/vnd.docker.distribution.manifest.v1+prettyjws
		application/vnd.docker.distribution.manifest.v1+json
		`},

	{NotPresent, certain, lookAbout, `
		errimageneverpull
		with pull policy of never
		`},

	{PolicyRejected, certain, lookAbout, `
		source image rejected
		signature validation failed
		signaturevalidationfailed
		checking signature of
		no signature exists
		is blocked in
		image verifier
		blocked by policy
		due to configured policy
		projectpolicyviolation
		project_policy_violation
		does not have trust data
		trust data does not exist
		trust data missing
		rejected by policy
		image signature
		signature verification
		invalid signature
		no matching signatures
		`},

	{AccessDenied, answer, lookNowhere, `
		denied:
		access denied
		accessdenied
		accessdeniedexception
		does not have permission
		do not have permission
		is not authorized to perform
		requested access to the resource is denied
		does not exist or no pull access
		does not match bearer token resource
		insufficient permission
		insufficient permissions
		`},
	{AccessDenied, answer, lookPermission, `
		permission
		`},
	{AccessDenied, anonymous, lookNowhere, `
		pull access denied
		repository does not exist or may require
		insufficient_scope
		insufficient scope
		`},
	{AccessDenied, answer, lookStatusText, `
		forbidden
		`},

	{Unauthorized, anonymous, lookNowhere, `
		authentication required
		no basic auth credentials
		anonymous access
		not logged in
		login required
		authorization required
		unauthenticated
		no scope specified for token auth
		code = unauthenticated
		`},
	{Unauthorized, anonymous, lookUnauthorized, `
		unauthorized
		`},
	{Unauthorized, answer, lookNowhere, `
		invalid username
		incorrect username
		invalid password
		wrong password
		bad credentials
		bad username
		invalid credentials
		login credentials are not valid
		invalid bearer token
		invalid token
		invalid identity token
		authentication failed
		unable to retrieve auth token
		error getting credentials
		`},
	{CredentialsExpired, answer, lookNowhere, `
		token has expired
		token is expired
		token expired
		expired token
		expiredtoken
		expiredtokenexception
		jwt expired
		password has expired
		password expired
		credentials have expired
		credentials expired
		credential expired
		security token included in the request is expired
		`},
	{look: lookSecret, phrases: `
		unable to retrieve some image pull secrets
		unable to retrieve pull secret
		couldn't get image pull secret
		failed to retrieve pull secret
		failed to retrieve image pull secret
		`},

	{RateLimited, answer, lookNowhere, `
		toomanyrequests
		too many requests
		too_many_requests
		rate limit
		rate-limited
		rate limited
		ratelimit
		rate exceeded
		requestlimitexceeded
		throttlingexception
		request throttled
		quota exceeded for
		`},
	{RegistryError, answer, lookStatusText, `
		bad gateway
		service unavailable
		gateway timeout
		gateway time-out
		internal server error
		`},
	{RegistryError, grpcCode, lookStatusText, `
		bad request
		method not allowed
		`},
	{RegistryError, answer, lookNowhere, `
		temporarily unavailable
		service_unavailable
		`},
	{RegistryError, deadline, lookNowhere, `
		unexpected http status
		invalid character '<' looking for beginning of value
		unable to decode token response
		failed to decode token
		did not include a token
		stopped after 10 redirects
		server response headers exceeded
		`},
	{RegistryError, answer, lookNowhere, `
		invalid token auth challenge realm
		`},

	{CorruptContent, certain, lookNowhere, `
		unexpected commit digest
		unexpected commit size
		wrong diff id
		mismatched rootfs
		mismatched image rootfs
		layers from manifest don't match image configuration
		digest did not match
		does not match digest
		digest mismatch
		digest_invalid
		digests did not match
		blob digest
		layer verification failed
		verification failed for digest
		does not match provided manifest digest
		failed size validation
		size mismatch
		checksum mismatch
		invalid checksum
		corrupt input
		corrupted
		magic number mismatch
		size_invalid
		short read
		data corruption
		crc mismatch
		unexpected digest
		`},
	{CorruptContent, anonymous, lookEOF, `
		unexpected eof
		unexpected end of file
		`},

	{DNS, network, lookLookup, `
		dial tcp: lookup
		dial udp: lookup
		dial tcp4: lookup
		dial tcp6: lookup
		no such host
		server misbehaving
		failure in name resolution
		name resolution failed
		name or service not known
		name does not resolve
		could not resolve host
		cannot resolve host
		no address associated with
		nodename nor servname
		`},
	{Connection, network, lookConnect, `
		connect:
		`},
	{Connection, network, lookNowhere, `
		connection refused
		connection reset
		connection timed out
		connection aborted
		broken pipe
		no route to host
		network is unreachable
		network unreachable
		host is unreachable
		host is down
		no suitable address
		address family not supported
		cannot assign requested address
		server closed idle connection
		use of closed network connection
		client connection lost
		sent goaway
		stream error
		eof
		actively refused
		tls: use of closed connection
		connection attempt failed
		could not reach any registry
		`},
	{Timeout, deadline, lookDeadline, `
		i/o timeout
		operation timed out
		context deadline exceeded
		deadline exceeded
		`},
	{TLS, network, lookNowhere, `
		x509:
		tls:
		tls handshake
		ssl handshake
		gave http response to https client
		sent an http request to an https server
		plain http request was sent to https
		malformed http response
		certificate signed by unknown authority
		certificate verify failed
		self signed certificate
		self-signed certificate
		ssl certificate problem
		certificate has expired
		certificate is valid for
		first record does not look like
		handshake failure
		bad certificate
		unknown authority
		`},
	{Proxy, certain, lookNowhere, `
		from proxy after connect
		`},
	{Proxy, network, lookProxied, `
		proxyconnect
		error connecting to proxy
		proxy authentication required
		proxy_authentication_required
		socks connect
		socks5 connect
		tunnel or ssl forbidden
		http: proxy error
		proxy error
		proxy connect
		http/1.1 407
		authenticationrequired
		`},
	{Timeout, deadline, lookNowhere, `
		client.timeout
		timeout awaiting response headers
		timeout exceeded while
		request timed out
		timed out
		code = deadlineexceeded
		code = 4
		http request canceled while waiting
		timeout waiting for
		`},

	{DiskFull, space, lookNowhere, `
		no space left
		disk quota exceeded
		not enough space
		insufficient space
		insufficient disk space
		disk is full
		not enough free space
		no inodes
		out of disk space
		create more free space
		free data blocks
		`},

	{UnpackFailed, unpacking, lookAbout, `
		failed to extract
		failed to register layer
		failed to unpack image
		failed to unpack layer
		error unpacking image
		unpacking failed
		failed to apply layer
		applylayer
		processing tar file
		adding layer with blob
		error adding layer
		committing the finished image
		error creating layer
		failed to prepare extraction snapshot
		mount callback failed
		`},
	{UnpackFailed, certain, lookNowhere, `
		content digest
		parent snapshot
		missing parent
		insufficient uids or gids
		hcsshim::importlayer
		lchown
		input/output error
		overlay mount
		failed to convert whiteout
		convert whiteout file
		structure needs cleaning
		failed to create snapshot
		failed to stat snapshot
		failed to get reader from content store
		layer not known
		layer does not exist
		id-map
		idmap
		failed to create diff
		too many levels of symbolic links
		`},
	{UnpackFailed, unpacking, lookNowhere, `
		locked for
		`},

	{UnpackFailed, certain, lookWhilePulling, `
		read-only file system
		failed to mount
		setxattr
		lsetxattr
		xattr
		`},

	{RuntimeUnavailable, certain, lookNowhere, `
		dial unix
		cannot connect to the docker daemon
		server is not initialized yet
		error reading from server
		error reading server preface
		transport is closing
		all subconns are in transientfailure
		connection error: desc
		error while dialing
		container runtime is down
		container runtime is not running
		client connection is closing
		`},
	{RuntimeUnavailable, grpcCode, lookNowhere, `
		code = unavailable
		`},
	{RuntimeConfig, certain, lookNowhere, `
		/etc/containers/policy.json
		policy.json
		invalid policy in
		no unpack platforms defined
		snapshotter not loaded
		snapshotter must be provided
		loading registries configuration
		loading registries.conf
		registries.conf
		hosts.toml
		no policy specified
		no registries configured
		mixing sysregistry
		unknown service
		failed to get registry hosts
		`},
	{RuntimeConfig, certain, lookSnapshotter, `
		snapshotter
		`},

	{Throttled, certain, lookAbout, `
		pull qps exceeded
		`},
	{Canceled, stopped, lookNowhere, `
		context canceled
		context cancelled
		request canceled
		request cancelled
		operation was canceled
		code = canceled
		pull canceled
		because of no progress
		`},
	{Timeout, deadline, lookNowhere, `
		request canceled while waiting
		request canceled (client.timeout
		`},

	{Unknown, bare, lookAbout, `
		errimagepull
		imagepullbackoff
		imageinspecterror
		registryunavailable
		back-off pulling image
		failed to pull image
		failing to pull image
		failed to inspect image
		failed to pull and unpack image
		failed pulling image
		error pulling image
		failed to resolve reference
		failed to resolve image
		pulling image failed
		initializing source
		failed to do request
		`},
	{look: lookArtifact, phrases: `
		artifact err:
		`},
	{Unknown, bare, lookImage, `
		pull image err:
		unable to pull image
		`},
	{look: lookEvidence, phrases: `
		pull
		pulling
		pullimage
		image pull
		unpacking image
		`},
	{look: lookSandboxImage, phrases: `
		sandbox image
		failed to get sandbox image
		`},
	{look: lookSandbox, phrases: `
		create pod sandbox
		createpodsandbox
		runpodsandbox
		creating pod sandbox
		start sandbox
		`},
	{look: lookRequest, phrases: `
		get
		head
		post
		`},
	{look: lookStep, phrases: `
		pinging container registry
		error pinging docker registry
		reading manifest
		`},
	{look: lookDial, phrases: `
		dial tcp
		dial tcp4
		dial tcp6
		`},
	{look: lookTransfer, phrases: `
		read tcp
		write tcp
		`},
	{look: lookToken, phrases: `
		failed to authorize
		failed to fetch anonymous token
		requesting bearer token
		`},
	{look: lookKnownToken, phrases: `
		failed to fetch oauth token
		`},
	{look: lookVeto, phrases: `
		restarting failed container
		probe failed
		probe errored
		mountvolume.
		unmountvolume
		attachvolume
		unable to attach or mount volumes
		unable to mount volumes
		timed out waiting for the condition
		nodes are available
		successfully pulled
		already present on machine
		exec format error
		oci runtime create failed
		oci runtime exec failed
		oci runtime start failed
		runc create failed
		failed to setup network for sandbox
		failed to set up sandbox container
		network for pod
		networkplugin cni
		networkplugin
		cni plugin
		plugin type
		plugin failed
		node was low on resource
		failed to create containerd task
		failed to start containerd task
		failed to create shim
		failed to create container with
		failed to create container:
		failed to generate container
		failed to generate spec
		failed to start container
		failed to start containerd
		failed to run container
		error during container init
		executable file not found
		failed to reserve sandbox
		failed to reserve container
		failed calling webhook
		liveness probe
		readiness probe
		startup probe
		container init caused
		preemption is not helpful
		poststart hook
		prestop hook
		oomkilled
		killpodsandbox
		stoppodsandbox
		stop pod sandbox
		failed to stop container
		failed to exec in
		failed to stop sandbox
		failed to get container status
		failed to kill pod
		failed to create subpath
		couldn't find key
		exec user process caused
		unable to start container
		createcontainerconfigerror
		runcontainererror
		unable to upgrade connection
		health check failed
		etcdserver:
		failed to update container status
		update node status
		updating node status
		register node
		kubelet-check
		leader election
		`},
}
