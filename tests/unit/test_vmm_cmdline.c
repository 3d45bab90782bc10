/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "vmm_cmdline.h"

#define PARSE(text) parse(text, sizeof(text))

static struct vmm_cmdline parse(const char *data, size_t size)
{
	struct vmm_cmdline vmm;

	vmm_cmdline_parse(data, size, &vmm);
	return vmm;
}

static void qemu_that_is_right(void **state)
{
	struct vmm_cmdline vmm =
		PARSE("/usr/bin/qemu-system-x86_64\0-machine\0q35,memory-backend=mem0\0-object\0"
		      "memory-backend-memfd,id=mem0,size=1G,share=on\0-vga\0none");

	assert_int_equal(vmm.kind, VMM_QEMU);
	assert_int_equal(vmm.memory, VMM_MEMORY_SHARED);
	assert_false(vmm.other_display);
}

#define QEMU "qemu-system-x86_64\0"
#define MACHINE QEMU "-machine\0q35,memory-backend=m\0-object\0"

static void qemu_memory(void **state)
{
	assert_int_equal(PARSE(QEMU "-m\0001G").memory, VMM_MEMORY_ANONYMOUS);
	assert_int_equal(PARSE(MACHINE "memory-backend-memfd,id=m,size=1G").memory,
			 VMM_MEMORY_SHARED);
	assert_int_equal(PARSE(MACHINE "memory-backend-memfd,id=m,share=off").memory,
			 VMM_MEMORY_PRIVATE);
	assert_int_equal(PARSE(MACHINE "memory-backend-file,id=m,mem-path=/x").memory,
			 VMM_MEMORY_PRIVATE);
	assert_int_equal(PARSE(MACHINE "memory-backend-file,share=on,id=m").memory,
			 VMM_MEMORY_SHARED);
	assert_int_equal(PARSE(MACHINE "memory-backend-ram,id=m").memory, VMM_MEMORY_ANONYMOUS);
	assert_int_equal(PARSE(MACHINE "qom-type=memory-backend-file,id=m").memory,
			 VMM_MEMORY_PRIVATE);
	/* libvirt's way to say it; and another object than memory. */
	assert_int_equal(PARSE(MACHINE "{\"qom-type\":\"memory-backend-file\",\"id\":\"m\","
				       "\"share\":true}\0-object\0rng-random,id=share")
				 .memory,
			 VMM_MEMORY_SHARED);
	assert_int_equal(PARSE(MACHINE "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"m\","
				       "\"share\":false}")
				 .memory,
			 VMM_MEMORY_PRIVATE);
}

/* What counts is the backends that are the guest's memory. */
static void qemu_backends(void **state)
{
	/* Nothing names it: the guest has other memory. */
	assert_int_equal(PARSE(QEMU "-object\0memory-backend-memfd,id=m,share=on").memory,
			 VMM_MEMORY_ANONYMOUS);
	/* An NVDIMM beside the memory, in either order. */
	assert_int_equal(PARSE(MACHINE "memory-backend-memfd,id=m,share=on\0-object\0"
				       "memory-backend-file,id=n,share=off,mem-path=/n\0-device\0"
				       "nvdimm,memdev=n")
				 .memory,
			 VMM_MEMORY_SHARED);
	assert_int_equal(PARSE(QEMU "-object\0memory-backend-file,id=n\0-object\0"
				    "memory-backend-file,id=m,share=on\0-M\0q35\0-M\0"
				    "memory-backend=m")
				 .memory,
			 VMM_MEMORY_SHARED);
	/* Memory of two nodes, and memory that is plugged in. */
	assert_int_equal(PARSE(QEMU "-object\0memory-backend-memfd,id=a\0-object\0"
				    "memory-backend-memfd,id=b\0-numa\0node,memdev=a\0-numa\0"
				    "node,memdev=b")
				 .memory,
			 VMM_MEMORY_SHARED);
	assert_int_equal(PARSE(QEMU "-object\0memory-backend-memfd,id=a\0-object\0"
				    "memory-backend-memfd,id=b,share=off\0-numa\0node,memdev=a\0"
				    "-numa\0node,memdev=b")
				 .memory,
			 VMM_MEMORY_PRIVATE);
	assert_int_equal(PARSE(MACHINE "memory-backend-memfd,id=m\0-object\0"
				       "memory-backend-ram,id=n\0-device\0"
				       "{\"driver\":\"pc-dimm\",\"memdev\":\"n\"}")
				 .memory,
			 VMM_MEMORY_ANONYMOUS);
	/* It is named, or may be, and what it is is written elsewhere. */
	assert_int_equal(PARSE(MACHINE "rng-random,id=m").memory, VMM_MEMORY_UNKNOWN);
	assert_int_equal(PARSE(QEMU "-readconfig\0/x").memory, VMM_MEMORY_UNKNOWN);
}

static void qemu_displays(void **state)
{
	assert_true(PARSE(QEMU "-m\0001G").other_display);
	assert_true(PARSE(QEMU "-vga\0std").other_display);
	assert_true(PARSE(QEMU "-vga\0std\0-nodefaults").other_display);
	assert_false(PARSE(QEMU "--vga\0none").other_display);
	assert_false(PARSE(QEMU "-nodefaults").other_display);
	assert_false(PARSE(QEMU "-M\0microvm").other_display);
	assert_false(PARSE(QEMU "-M\0none").other_display);
	assert_false(PARSE("qemu-system-aarch64\0-M\0virt").other_display);
	assert_false(PARSE(QEMU "-m\0001G").display_device);
}

static void qemu_display_devices(void **state)
{
	static const char *const drivers[] = { "VGA",	     "secondary-vga",  "bochs-display",
					       "qxl",	     "qxl-vga",	       "virtio-gpu-pci",
					       "virtio-vga", "virtio-vga-gl",  "virtio-gpu-gl-pci",
					       "ramfb",	     "vhost-user-vga", "cirrus-vga" };
	struct vmm_cmdline vmm;

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		char text[128] = QEMU "-vga\0none\0-device";
		size_t used = sizeof(QEMU "-vga\0none\0-device");

		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s,id=x", drivers[i]);
		vmm = parse(text, used + 1);
		assert_true(vmm.display_device);
		assert_false(vmm.other_display);
	}
	vmm = PARSE(QEMU "-vga\0none\0-device\0{\"driver\":\"virtio-gpu-pci\"}");
	assert_true(vmm.display_device);
	vmm = PARSE(QEMU "-device\0{\"driver\":\"vfio-user-pci\"}\0-device\0virtio-net-pci");
	assert_false(vmm.display_device);
	vmm = PARSE(QEMU "-device\0VGA");
	assert_true(vmm.display_device);
	assert_false(vmm.other_display);
	vmm = PARSE(QEMU "-device\0bochs-display,vgamem=16M");
	assert_true(vmm.display_device);
	assert_true(vmm.other_display);
}

static void cloud_hypervisor(void **state)
{
	struct vmm_cmdline vmm = PARSE("/usr/bin/cloud-hypervisor\0--memory\0size=1G,shared=on");

	assert_int_equal(vmm.kind, VMM_CLOUD_HYPERVISOR);
	assert_int_equal(vmm.memory, VMM_MEMORY_SHARED);
	assert_false(vmm.other_display);
	assert_int_equal(PARSE("cloud-hypervisor\0--memory\0size=1G").memory, VMM_MEMORY_PRIVATE);
}

/* A QEMU of another distribution release, started through its own loader. */
static void behind_a_loader(void **state)
{
	struct vmm_cmdline vmm = PARSE(
		"/r/ld-linux-x86-64.so.2\0--library-path\0/r\0/r/qemu-system-x86_64\0-vga\0none");

	assert_int_equal(vmm.kind, VMM_QEMU);
	assert_int_equal(vmm.memory, VMM_MEMORY_ANONYMOUS);
	assert_false(vmm.other_display);
	assert_int_equal(PARSE("/r/ld-linux.so\0/bin/sh").kind, VMM_UNKNOWN);
}

static void nonsense(void **state)
{
	assert_int_equal(parse("", 0).kind, VMM_UNKNOWN);
	assert_int_equal(PARSE("").kind, VMM_UNKNOWN);
	assert_int_equal(parse("qemu", 4).kind, VMM_UNKNOWN);
	assert_int_equal(PARSE("python3\0vmm.py").kind, VMM_UNKNOWN);
	assert_int_equal(PARSE("qemu-system-x86_64\0-object").kind, VMM_QEMU);
	assert_int_equal(PARSE("qemu-system-x86_64\0-object\0{").kind, VMM_QEMU);
	assert_int_equal(PARSE("qemu-system-x86_64\0-object\0").kind, VMM_QEMU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_that_is_right),	cmocka_unit_test(qemu_memory),
		cmocka_unit_test(qemu_backends),	cmocka_unit_test(qemu_displays),
		cmocka_unit_test(qemu_display_devices), cmocka_unit_test(cloud_hypervisor),
		cmocka_unit_test(behind_a_loader),	cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests_name("vmm-cmdline", tests, NULL, NULL);
}
