package pulls

import "regexp"

// What runtimes quote in their errors can hold secrets: a proxy or registry URL with its user, the signed URL of a blob, a token. None of
// it tells anything about a cause.
var (
	userinfo  = regexp.MustCompile(`(://)[^/\s"?#]*@`)
	signature = regexp.MustCompile(`(?i)((?:[?&]|\\u0026|&amp;)(?:[\w.-]*(?:sig|signature|token|credential|secret|password|key|policy|auth|hmac|jwt)[\w.-]*)=)[^&\s"'\\]+`)
	bearer    = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9+/._~-]{16,}=*|\b(authorization:\s*(?:basic|bearer|digest|negotiate|token))\s+\S+`)
	field     = regexp.MustCompile(`(?i)(\\?"(?:\w*token|password|secret|auth|identitytoken)\\?"\s*:\s*\\?")[^"\\]+`)
)

// Redact takes the secrets out of a text from outside.
func Redact(text string) string {
	text = userinfo.ReplaceAllString(text, "$1***@")
	text = signature.ReplaceAllString(text, "$1***")
	text = field.ReplaceAllString(text, "$1***")
	return bearer.ReplaceAllString(text, "$1$2 ***")
}
