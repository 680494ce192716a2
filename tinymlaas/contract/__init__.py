"""What every part of tinymlaas speaks: pure data, no I/O."""
