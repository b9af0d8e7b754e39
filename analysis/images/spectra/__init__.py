"""Local spectra of an image: sliding windows, their spots and stripes."""
