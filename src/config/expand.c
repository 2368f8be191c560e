/* ~ and $VAR in paths. An unset variable is an error, because "/keys/$STAGE/id" with a hole in it
 * names another file than the one that was meant. */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/value.h"
#include "scoutfs/text.h"

#define PASSWD_BYTES 16384 /* an entry of the password file; larger ones count as none */

int scout_home(char **ret)
{
	const char *home = getenv("HOME");
	struct passwd entry, *found = NULL;
	char *buf = NULL;

	if (!home || home[0] != '/') {
		buf = malloc(PASSWD_BYTES);
		if (!buf)
			return -ENOMEM;
		(void)getpwuid_r(getuid(), &entry, buf, PASSWD_BYTES, &found); /* NULL on error */
		home = found && found->pw_dir[0] == '/' ? found->pw_dir : "/";
	}
	*ret = strdup(home);
	free(buf);
	return *ret ? 0 : -ENOMEM;
}

static size_t name_length(const char *p)
{
	size_t len = 0;

	if (!isalpha((unsigned char)*p) && *p != '_')
		return 0;
	while (isalnum((unsigned char)p[len]) || p[len] == '_')
		len++;
	return len;
}

/* *at is behind a '$'; moves it behind the variable. */
static int expand_variable(const char **at, struct scout_text *out, const char **why)
{
	const char *p = *at;
	bool braced = *p == '{';
	const char *value;
	size_t len;
	char *name;

	if (*p == '$') {
		scout_text_append(out, "$", 1);
		*at = p + 1;
		return 0;
	}
	p += braced;
	len = name_length(p);
	if (len == 0 || (braced && p[len] != '}')) {
		*why = "'$' without a variable's name behind it (a literal one is '$$')";
		return -EINVAL;
	}
	name = strndup(p, len);
	if (!name)
		return -ENOMEM;
	value = getenv(name);
	free(name);
	if (!value) {
		*why = "it names an environment variable that is not set";
		return -EINVAL;
	}
	scout_text_append(out, value, strlen(value));
	*at = p + len + braced;
	return 0;
}

static int expand_home(struct scout_text *out)
{
	char *home;
	int err = scout_home(&home);

	if (err)
		return err;
	scout_text_append(out, home, strlen(home));
	free(home);
	return 0;
}

int scout_expand(const char *text, char **ret, const char **why)
{
	struct scout_text out = {0};
	const char *p = text;
	char *str;
	int err = 0;

	if (p[0] == '~' && (p[1] == '/' || p[1] == '\0')) {
		err = expand_home(&out);
		p++;
	}
	while (!err && *p) {
		size_t plain = strcspn(p, "$");

		scout_text_append(&out, p, plain);
		p += plain;
		if (*p == '$') {
			p++;
			err = expand_variable(&p, &out, why);
		}
	}
	if (err) {
		scout_text_free(&out);
		return err;
	}
	if (out.failed) {
		scout_text_free(&out);
		return -ENOMEM;
	}
	str = scout_text_take(&out);
	if (!str)
		return -ENOMEM;
	*ret = str;
	return 0;
}
