"""What all commands have in common (INTERFACES.md section 1): flags, output, errors, progress, interruption."""
