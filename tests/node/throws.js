throw new Error('this program is broken');
