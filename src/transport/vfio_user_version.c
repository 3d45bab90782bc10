/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/log.h"
#include "transport/vfio_user_command.h"

/* A number that the client may leave out: kept as it is then. -EINVAL if it is no number. */
static int read_number(json_t *capabilities, const char *key, uint64_t *value)
{
	json_t *number = json_object_get(capabilities, key);

	if (!number)
		return 0;
	if (!json_is_integer(number) || json_integer_value(number) < 0)
		return -EINVAL;
	*value = (uint64_t)json_integer_value(number);
	return 0;
}

/* What we can do. write_multiple only to those who asked: it is a subset then. */
static json_t *our_version_data(bool write_multiple)
{
	json_t *capabilities = json_pack("{s:i, s:i, s:i, s:i}", "max_msg_fds", VFIO_USER_MAX_FDS,
					 "max_data_xfer_size", VFIO_USER_MAX_XFER, "max_dma_maps",
					 VFIO_DMA_MAX_MAPS, "pgsizes", 4096);

	if (write_multiple)
		json_object_set_new(capabilities, "write_multiple", json_true());
	return json_pack("{s:o}", "capabilities", capabilities);
}

static int parse_proposal(struct vfio_user_session *session,
			  const struct vfio_user_message *message, bool *ret_write_multiple)
{
	const char *text = (const char *)message->payload + sizeof(struct vfio_user_version);
	size_t length = message->length - sizeof(struct vfio_user_version);
	uint64_t max_xfer = VFIO_USER_MAX_XFER;
	json_t *data, *capabilities;
	int r;

	*ret_write_multiple = false;
	session->peer_max_xfer = VFIO_USER_MAX_XFER;
	if (!length)
		return 0;
	if (text[length - 1])
		return -EINVAL;

	data = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	capabilities = json_object_get(data, "capabilities");
	if (!json_is_object(data) || (capabilities && !json_is_object(capabilities))) {
		json_decref(data);
		return -EINVAL;
	}
	r = read_number(capabilities, "max_data_xfer_size", &max_xfer);
	if (r == 0 && max_xfer < VFIO_USER_MAX_XFER)
		session->peer_max_xfer = max_xfer;
	*ret_write_multiple = json_is_true(json_object_get(capabilities, "write_multiple"));
	json_decref(data);
	return r;
}

int vfio_user_version(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply)
{
	struct vfio_user_version version;
	bool write_multiple;
	char *text;
	json_t *data;
	int r;

	if (session->negotiated)
		return -EINVAL;
	memcpy(&version, message->payload, sizeof(version));
	if (version.major != VFIO_USER_MAJOR) {
		log_ratelimited(LOG_LEVEL_WARNING,
				"the client speaks vfio-user %u.%u, we speak %u.%u", version.major,
				version.minor, VFIO_USER_MAJOR, VFIO_USER_MINOR);
		return -EPROTONOSUPPORT;
	}
	r = parse_proposal(session, message, &write_multiple);
	if (r < 0)
		return r;

	data = our_version_data(write_multiple);
	text = data ? json_dumps(data, JSON_COMPACT) : NULL;
	json_decref(data);
	if (!text)
		return -ENOMEM;

	if (version.minor > VFIO_USER_MINOR)
		version.minor = VFIO_USER_MINOR;
	memcpy(reply->payload, &version, sizeof(version));
	memcpy(reply->payload + sizeof(version), text, strlen(text) + 1);
	reply->length = sizeof(version) + strlen(text) + 1;
	free(text);
	session->negotiated = true;
	return 0;
}
