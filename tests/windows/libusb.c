/* A libusb-1.0.dll that lists the devices of the variable KODEKS_LAB_USB: "BUS-PORT[.PORT]:VID:PID ...", without a port a
 * root hub. That is all that libusb for Windows tells of a device that it has no driver for: opening one fails. It cannot
 * tell a port of a forwarder's virtual controller from one of the machine either. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define NOT_SUPPORTED -12
#define ABSENT(name) EXPORT int name(void) { return NOT_SUPPORTED; }
#define EXPORT __declspec(dllexport)

typedef struct { uint8_t bus, ports[7]; int depth; uint16_t vendor, product; } Device;
static Device devices[32], *list[33];

EXPORT int libusb_init(void **context) { *context = devices; return getenv("KODEKS_LAB_USB_REFUSES") ? -99 : 0; }
EXPORT void libusb_exit(void *context) { (void)context; }

EXPORT intptr_t libusb_get_device_list(void *context, Device ***result)
{
    (void)context;
    char *text = strdup(getenv("KODEKS_LAB_USB") ? getenv("KODEKS_LAB_USB") : "");
    int count = 0;
    for (char *word = strtok(text, " "); word && count < 32; word = strtok(NULL, " "), count++) {
        Device *device = list[count] = &devices[count];
        int at = 0;
        unsigned number, vendor, product;
        sscanf(word, "%u%n", &number, &at);
        device->bus = number;
        device->depth = 0;
        for (word += at; *word == '-' || *word == '.'; word += at) {
            sscanf(word + 1, "%u%n", &number, &at);
            device->ports[device->depth++] = number;
            at++;
        }
        sscanf(word, ":%x:%x", &vendor, &product);
        device->vendor = vendor;
        device->product = product;
    }
    list[count] = NULL;
    *result = list;
    return count;
}

EXPORT int libusb_get_device_descriptor(Device *device, uint8_t *descriptor)
{
    memset(descriptor, 0, 18);
    descriptor[0] = 18;
    descriptor[1] = 1;
    memcpy(descriptor + 8, &device->vendor, 2);
    memcpy(descriptor + 10, &device->product, 2);
    descriptor[17] = 1;
    return 0;
}

EXPORT int libusb_get_port_numbers(Device *device, uint8_t *ports, int room)
{
    memcpy(ports, device->ports, device->depth < room ? device->depth : room);
    return device->depth;
}

EXPORT uint8_t libusb_get_port_number(Device *device) { return device->depth ? device->ports[device->depth - 1] : 0; }
EXPORT uint8_t libusb_get_bus_number(Device *device) { return device->bus; }
EXPORT uint8_t libusb_get_device_address(Device *device) { return 1 + (device - devices); }
EXPORT int libusb_get_device_speed(Device *device) { (void)device; return 2; }
EXPORT void *libusb_ref_device(void *device) { return device; }
EXPORT void libusb_unref_device(void *device) { (void)device; }
EXPORT void libusb_free_device_list(void *these, int unref) { (void)these; (void)unref; }
EXPORT const char *libusb_strerror(int code) { (void)code; return "Operation not supported"; }

/* A check that opens a device would have to be found out: this one says so by ending the process. */
EXPORT int libusb_open(void) { ExitProcess(99); }

ABSENT(libusb_alloc_transfer) ABSENT(libusb_attach_kernel_driver) ABSENT(libusb_bulk_transfer) ABSENT(libusb_claim_interface)
ABSENT(libusb_clear_halt) ABSENT(libusb_close) ABSENT(libusb_control_transfer) ABSENT(libusb_detach_kernel_driver)
ABSENT(libusb_free_config_descriptor) ABSENT(libusb_free_transfer) ABSENT(libusb_get_config_descriptor)
ABSENT(libusb_get_configuration) ABSENT(libusb_get_max_iso_packet_size) ABSENT(libusb_get_parent)
ABSENT(libusb_get_string_descriptor_ascii) ABSENT(libusb_handle_events) ABSENT(libusb_interrupt_transfer)
ABSENT(libusb_kernel_driver_active) ABSENT(libusb_release_interface) ABSENT(libusb_reset_device) ABSENT(libusb_set_configuration)
ABSENT(libusb_set_debug) ABSENT(libusb_set_interface_alt_setting) ABSENT(libusb_submit_transfer)
