/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The display device through its DRM driver: dumb buffers and legacy mode-setting, by raw ioctl.
 * The device node is opened at the first command that needs it and closed when the device may go away.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm.h>
#include <drm_fourcc.h>
#include <drm_mode.h>

#include "agent.h"

#define MAX_MODES 128
#define MAX_PROPS 32

static struct {
	int fd;
	uint32_t connector, connector_type, crtc;
	bool connected;
	char driver[32];
	struct drm_mode_modeinfo modes[MAX_MODES];
	uint32_t n_modes;
	uint32_t dpms_prop, edid_blob;
	struct drm_mode_modeinfo mode; /* what is set */
	struct frame shown;
} kms = { .fd = -1 };

static int drm(unsigned long request, void *arg)
{
	int rc;

	do {
		rc = ioctl(kms.fd, request, arg);
	} while (rc < 0 && (errno == EINTR || errno == EAGAIN));
	return rc < 0 ? -errno : 0;
}

/* The number N of the /dev/dri/cardN that belongs to a PCI device, or -ENODEV. */
static int card_number(const char *pci_name)
{
	DIR *dir = opendir("/sys/class/drm");
	struct dirent *e;
	int found = -ENODEV;

	while (dir && found < 0 && (e = readdir(dir))) {
		char path[300], real[PATH_MAX];
		unsigned int n;
		int used = 0;

		if (sscanf(e->d_name, "card%u%n", &n, &used) != 1 || e->d_name[used])
			continue;
		snprintf(path, sizeof(path), "/sys/class/drm/%s/device", e->d_name);
		/* A virtio device stands between the card and its PCI function. */
		if (realpath(path, real) && strstr(real, pci_name))
			found = n;
	}
	if (dir)
		closedir(dir);
	return found;
}

bool kms_card_present(const char *pci_name)
{
	char path[32];
	int n = card_number(pci_name);

	snprintf(path, sizeof(path), "/dev/dri/card%d", n);
	return n >= 0 && access(path, F_OK) == 0;
}

static void read_props(const uint32_t *ids, const uint64_t *values, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct drm_mode_get_property prop = { .prop_id = ids[i] };

		if (drm(DRM_IOCTL_MODE_GETPROPERTY, &prop) < 0)
			continue;
		if (strcmp(prop.name, "DPMS") == 0)
			kms.dpms_prop = ids[i];
		else if (strcmp(prop.name, "EDID") == 0)
			kms.edid_blob = values[i];
	}
}

/* With no room given at all the kernel probes the connector anew; a second call fetches the lists. */
static int read_connector(void)
{
	struct drm_mode_get_connector c = { .connector_id = kms.connector };
	uint32_t encoders[8], props[MAX_PROPS];
	uint64_t values[MAX_PROPS];
	int rc;

	rc = drm(DRM_IOCTL_MODE_GETCONNECTOR, &c);
	if (rc < 0)
		return rc;
	if (c.count_modes > MAX_MODES)
		c.count_modes = MAX_MODES;
	if (c.count_props > MAX_PROPS || c.count_encoders > ARRAY_SIZE(encoders))
		return -E2BIG;
	c.modes_ptr = (uintptr_t)kms.modes;
	c.props_ptr = (uintptr_t)props;
	c.prop_values_ptr = (uintptr_t)values;
	c.encoders_ptr = (uintptr_t)encoders;
	rc = drm(DRM_IOCTL_MODE_GETCONNECTOR, &c);
	if (rc < 0)
		return rc;
	kms.n_modes = c.count_modes < MAX_MODES ? c.count_modes : MAX_MODES;
	kms.connector_type = c.connector_type;
	kms.connected = c.connection == 1;
	read_props(props, values, c.count_props);
	return 0;
}

int kms_open(void)
{
	struct drm_mode_card_res res = {};
	uint32_t crtcs[16], connectors[16];
	char pci[PCI_NAME_LEN], path[32];
	struct drm_version version = { .name_len = sizeof(kms.driver) - 1, .name = kms.driver };
	int n, rc;

	if (kms.fd >= 0)
		return 0;
	rc = pci_find_display(pci);
	if (rc < 0)
		return rc;
	n = card_number(pci);
	if (n < 0)
		return n;
	snprintf(path, sizeof(path), "/dev/dri/card%d", n);
	kms.fd = open(path, O_RDWR | O_CLOEXEC);
	if (kms.fd < 0)
		return -errno;

	memset(kms.driver, 0, sizeof(kms.driver));
	rc = drm(DRM_IOCTL_VERSION, &version);
	if (rc == 0) {
		res.crtc_id_ptr = (uintptr_t)crtcs;
		res.connector_id_ptr = (uintptr_t)connectors;
		res.count_crtcs = ARRAY_SIZE(crtcs);
		res.count_connectors = ARRAY_SIZE(connectors);
		rc = drm(DRM_IOCTL_MODE_GETRESOURCES, &res);
	}
	if (rc == 0 && (!res.count_crtcs || !res.count_connectors))
		rc = -ENODEV;
	if (rc == 0) {
		kms.crtc = crtcs[0];
		kms.connector = connectors[0];
		rc = read_connector();
	}
	if (rc < 0)
		kms_close();
	return rc;
}

void kms_close(void)
{
	if (kms.fd < 0)
		return;
	frame_destroy(&kms.shown);
	close(kms.fd);
	kms.fd = -1;
}

int frame_create(uint32_t width, uint32_t height, enum dots dots, struct frame *ret)
{
	static const uint32_t formats[] = {
		[DOTS_RGB565] = DRM_FORMAT_RGB565,
		[DOTS_XRGB8888] = DRM_FORMAT_XRGB8888,
		[DOTS_BGRX8888] = DRM_FORMAT_BGRX8888,
	};
	struct drm_mode_create_dumb create = { .width = width,
					       .height = height,
					       .bpp = dots == DOTS_RGB565 ? 16 : 32 };
	struct drm_mode_fb_cmd2 fb = { .width = width,
				       .height = height,
				       .pixel_format = formats[dots] };
	struct drm_mode_map_dumb map = {};
	struct frame f = { .width = width, .height = height };
	int rc;

	rc = drm(DRM_IOCTL_MODE_CREATE_DUMB, &create);
	if (rc < 0)
		return rc;
	f.handle = fb.handles[0] = map.handle = create.handle;
	f.pitch = fb.pitches[0] = create.pitch;
	f.size = create.size;
	rc = drm(DRM_IOCTL_MODE_ADDFB2, &fb);
	if (rc == 0) {
		f.fb = fb.fb_id;
		rc = drm(DRM_IOCTL_MODE_MAP_DUMB, &map);
	}
	if (rc == 0) {
		f.map = mmap(NULL, f.size, PROT_READ | PROT_WRITE, MAP_SHARED, kms.fd, map.offset);
		if (f.map == MAP_FAILED) {
			f.map = NULL;
			rc = -errno;
		}
	}
	if (rc < 0)
		frame_destroy(&f);
	else
		*ret = f;
	return rc;
}

void frame_destroy(struct frame *f)
{
	struct drm_mode_destroy_dumb destroy = { .handle = f->handle };

	if (f->map)
		munmap(f->map, f->size);
	if (f->fb)
		drm(DRM_IOCTL_MODE_RMFB, &f->fb);
	if (f->handle)
		drm(DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
	*f = (struct frame){};
}

/* From the connector's list, else one made up: a virtual display has no timing to get wrong. */
static struct drm_mode_modeinfo find_mode(uint32_t width, uint32_t height)
{
	struct drm_mode_modeinfo made = {
		.hdisplay = width,
		.hsync_start = width + 16,
		.hsync_end = width + 48,
		.htotal = width + 160,
		.vdisplay = height,
		.vsync_start = height + 3,
		.vsync_end = height + 9,
		.vtotal = height + 30,
		.vrefresh = 60,
		.type = DRM_MODE_TYPE_USERDEF,
	};

	for (uint32_t i = 0; i < kms.n_modes; i++)
		if (kms.modes[i].hdisplay == width && kms.modes[i].vdisplay == height)
			return kms.modes[i];
	made.clock = (uint64_t)made.htotal * made.vtotal * 60 / 1000;
	snprintf(made.name, sizeof(made.name), "%ux%u", width, height);
	return made;
}

static int set_crtc(const struct frame *f, struct drm_mode_modeinfo *mode, uint32_t y)
{
	struct drm_mode_crtc crtc = { .crtc_id = kms.crtc };

	if (f) {
		crtc.fb_id = f->fb;
		crtc.y = y;
		crtc.set_connectors_ptr = (uintptr_t)&kms.connector;
		crtc.count_connectors = 1;
		crtc.mode = *mode;
		crtc.mode_valid = 1;
	}
	return drm(DRM_IOCTL_MODE_SETCRTC, &crtc);
}

/* Drivers that keep a shadow copy are told what changed; others don't know the call. */
static int mark_dirty(const struct frame *f)
{
	struct drm_mode_fb_dirty_cmd dirty = { .fb_id = f->fb };
	int rc = drm(DRM_IOCTL_MODE_DIRTYFB, &dirty);

	return rc == -ENOSYS ? 0 : rc;
}

int kms_show(const struct frame *f, uint32_t width, uint32_t height, uint32_t y)
{
	struct drm_mode_modeinfo mode = find_mode(width, height);
	int rc;

	rc = set_crtc(f, &mode, y);
	if ((rc == -ENOSPC || rc == -ENOMEM) && kms.shown.fb) {
		/* Old and new don't fit the VRAM together. */
		rc = set_crtc(NULL, NULL, 0);
		if (rc == 0) {
			frame_destroy(&kms.shown);
			rc = set_crtc(f, &mode, y);
		}
	}
	if (rc < 0)
		return rc;
	kms.mode = mode;
	return mark_dirty(f);
}

int kms_flip(const struct frame *f)
{
	struct drm_mode_crtc_page_flip flip = { .crtc_id = kms.crtc, .fb_id = f->fb };
	int rc = drm(DRM_IOCTL_MODE_PAGE_FLIP, &flip);

	if (rc < 0)
		rc = set_crtc(f, &kms.mode, 0);
	return rc < 0 ? rc : mark_dirty(f);
}

void kms_keep(struct frame *f)
{
	frame_destroy(&kms.shown);
	kms.shown = *f;
	*f = (struct frame){};
}

const char *kms_driver(void)
{
	return kms.driver;
}

static int parse_dots(const char *s, enum dots *ret)
{
	static const char *const names[] = { "16", "32", "32be" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(s, names[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

/*
 * draw W H DEPTH PATTERN SEED [LINES]: DEPTH is 16, 32 or 32be (big-endian); LINES > H makes a buffer that
 * "pan" can move in
 */
static int run_draw(int argc, char **argv, struct text *out)
{
	static struct pattern p;
	uint32_t width, height, seed, lines;
	enum dots dots;
	struct frame f;
	uint64_t start, ns;
	int rc;

	if (parse_u32(argv[1], &width) < 0 || parse_u32(argv[2], &height) < 0 ||
	    parse_dots(argv[3], &dots) < 0 || parse_u32(argv[5], &seed) < 0)
		return -EINVAL;
	lines = height;
	if (argc > 6 && parse_u32(argv[6], &lines) < 0)
		return -EINVAL;
	rc = pattern_init(&p, argv[4], width, lines, seed);
	if (rc < 0)
		return rc;
	rc = kms_open();
	if (rc < 0)
		return rc;
	rc = frame_create(width, lines, dots, &f);
	if (rc < 0)
		return rc;

	start = now_ns();
	pattern_draw(&p, f.map, f.pitch, dots);
	ns = now_ns() - start;
	rc = kms_show(&f, width, height, 0);
	if (rc < 0) {
		frame_destroy(&f);
		return rc;
	}
	text_add(out, "pitch=%u ns=%llu", f.pitch, (unsigned long long)ns);
	kms_keep(&f);
	return 0;
}

static int run_pan(int argc, char **argv, struct text *out)
{
	uint32_t y;
	int rc;

	if (parse_u32(argv[1], &y) < 0)
		return -EINVAL;
	if (!kms.shown.fb)
		return -ENOENT;
	rc = set_crtc(&kms.shown, &kms.mode, y);
	return rc < 0 ? rc : mark_dirty(&kms.shown);
}

static int run_blank(int argc, char **argv, struct text *out)
{
	struct drm_mode_connector_set_property set = {};
	int rc;

	rc = kms_open();
	if (rc < 0)
		return rc;
	if (!kms.dpms_prop)
		return -ENOTSUP;
	set.connector_id = kms.connector;
	set.prop_id = kms.dpms_prop;
	if (strcmp(argv[1], "on") == 0)
		set.value = DRM_MODE_DPMS_OFF;
	else if (strcmp(argv[1], "off") == 0)
		set.value = DRM_MODE_DPMS_ON;
	else
		return -EINVAL;
	return drm(DRM_IOCTL_MODE_SETPROPERTY, &set);
}

static void add_edid(struct text *out)
{
	uint8_t edid[1024];
	struct drm_mode_get_blob blob = { .blob_id = kms.edid_blob };
	int rc = kms.edid_blob ? drm(DRM_IOCTL_MODE_GETPROPBLOB, &blob) : -ENOENT;

	/* The kernel fills in the length, and copies only if the next call gives just that. */
	if (rc == 0 && blob.length <= sizeof(edid)) {
		blob.data = (uintptr_t)edid;
		rc = drm(DRM_IOCTL_MODE_GETPROPBLOB, &blob);
	} else {
		blob.length = 0;
	}
	text_add(out, " edid=%s", rc == 0 && blob.length ? "" : "-");
	for (uint32_t i = 0; rc == 0 && i < blob.length; i++)
		text_add(out, "%02x", edid[i]);
}

void kms_describe(struct text *out)
{
	if (kms_open() < 0) {
		text_add(out, " driver=-");
		return;
	}
	text_add(out, " driver=%s connector=%s status=%s", kms.driver,
		 kms.connector_type == DRM_MODE_CONNECTOR_VIRTUAL ? "Virtual" : "other",
		 kms.connected ? "connected" : "disconnected");
	add_edid(out);
	text_add(out, " modes=");
	for (uint32_t i = 0; i < kms.n_modes; i++)
		text_add(out, "%s%s", i ? "," : "", kms.modes[i].name);
}

const struct command kms_commands[] = {
	{ "draw", "W H DEPTH PATTERN SEED [LINES]", 5, 6, run_draw },
	{ "pan", "Y", 1, 1, run_pan },
	{ "blank", "on|off", 1, 1, run_blank },
	{},
};
